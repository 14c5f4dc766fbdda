"""The strategies of a text search by name."""

from collections.abc import Mapping
from importlib.util import find_spec
from types import MappingProxyType

from tuningfork.errors import MissingDependencyError, PromptError
from tuningfork.tasks.suggestions import did_you_mean
from tuningfork.tuning.text.bayesian_instructions import BayesianInstructions
from tuningfork.tuning.text.bootstrapped_demonstrations import BootstrappedDemonstrations
from tuningfork.tuning.text.demonstration_order import DemonstrationOrder
from tuningfork.tuning.text.diverse_demonstrations import DiverseDemonstrations
from tuningfork.tuning.text.edits import Edits
from tuningfork.tuning.text.evolution import Evolution
from tuningfork.tuning.text.nearest_demonstrations import NearestDemonstrations
from tuningfork.tuning.text.opro import OPRO
from tuningfork.tuning.text.random_demonstrations import RandomDemonstrations
from tuningfork.tuning.text.reflection import Reflection
from tuningfork.tuning.text.strategy import TextStrategy

TEXT_STRATEGIES: Mapping[str, TextStrategy] = MappingProxyType(
    {
        "random_demonstrations": RandomDemonstrations(),
        "nearest_demonstrations": NearestDemonstrations(),
        "diverse_demonstrations": DiverseDemonstrations(),
        "bootstrapped_demonstrations": BootstrappedDemonstrations(),
        "demonstration_order": DemonstrationOrder(),
        "edits": Edits(),
        "evolution": Evolution(),
        "opro": OPRO(),
        "bayesian_instructions": BayesianInstructions(),
        "reflection": Reflection(),
    }
)

DEFAULT_STRATEGIES = ("nearest_demonstrations", "edits")


def get_text_strategy(name: str) -> TextStrategy:
    """The strategy called `name`.

    Raises:
        PromptError: There is none; the message lists those there are.
        MissingDependencyError: It needs a package that is not installed.
    """
    if name not in TEXT_STRATEGIES:
        raise PromptError(f"unknown strategy {name!r}: {did_you_mean(name, TEXT_STRATEGIES)}")
    strategy = TEXT_STRATEGIES[name]
    for package in strategy.packages:
        if find_spec(package) is None:
            raise MissingDependencyError(package, "search", f"strategy {name}")
    return strategy
