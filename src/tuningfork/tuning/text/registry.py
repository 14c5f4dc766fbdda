"""The strategies of a text search by name."""

from collections.abc import Mapping
from types import MappingProxyType

from tuningfork.errors import PromptError
from tuningfork.tasks.suggestions import did_you_mean
from tuningfork.tuning.text.edits import Edits
from tuningfork.tuning.text.nearest_demonstrations import NearestDemonstrations
from tuningfork.tuning.text.random_demonstrations import RandomDemonstrations
from tuningfork.tuning.text.strategy import TextStrategy

TEXT_STRATEGIES: Mapping[str, TextStrategy] = MappingProxyType(
    {
        "random_demonstrations": RandomDemonstrations(),
        "nearest_demonstrations": NearestDemonstrations(),
        "edits": Edits(),
    }
)

DEFAULT_STRATEGIES = ("nearest_demonstrations", "edits")


def get_text_strategy(name: str) -> TextStrategy:
    """The strategy called `name`.

    Raises:
        PromptError: There is none; the message lists those there are.
    """
    if name not in TEXT_STRATEGIES:
        raise PromptError(f"unknown strategy {name!r}: {did_you_mean(name, TEXT_STRATEGIES)}")
    return TEXT_STRATEGIES[name]
