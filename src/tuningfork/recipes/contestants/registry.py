"""The contestants by name; to add some: one line here."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from tuningfork.errors import PromptError
from tuningfork.library.comparison_folder import ComparisonOptions
from tuningfork.recipes.contestants.classical import ClassicalBaseline
from tuningfork.recipes.contestants.contestant import Contestant
from tuningfork.recipes.contestants.full import FullFineTuning
from tuningfork.recipes.contestants.low_rank import LowRank
from tuningfork.recipes.contestants.remote import RemoteContestant, RemoteSettings
from tuningfork.recipes.contestants.soft import soft_prompts
from tuningfork.recipes.contestants.words import FewShot, NoPrompt, TextPrompt
from tuningfork.tasks.suggestions import did_you_mean

CONTESTANTS: Mapping[str, Callable[[ComparisonOptions], Sequence[Contestant]]] = MappingProxyType(
    {
        "no_prompt": lambda _: [NoPrompt()],
        "text_prompt": lambda _: [TextPrompt()],
        "few_shot": lambda _: [FewShot()],
        "soft_prompts": lambda options: soft_prompts(options.tuning),
        "lora": lambda _: [LowRank()],
        "full_fine_tuning": lambda _: [FullFineTuning()],
        "classical": lambda _: [ClassicalBaseline()],
        "remote": lambda options: [_remote(options)],
    }
)
"""What makes them of the options of a comparison, in the order in which they are measured."""

DEFAULT_CONTESTANTS = tuple(name for name in CONTESTANTS if name != "remote")
"""Those that are compared when none is named; a model behind an API is one where its address is given."""


def contestants_of(options: ComparisonOptions) -> list[Contestant]:
    """The contestants that `options` ask for; the text prompt, which all are measured by, is among them.

    Raises:
        PromptError: if there is no contestant of a name.
    """
    names = options.contestants or DEFAULT_CONTESTANTS
    if options.remote is not None:
        names = (*names, "remote")
    for name in names:
        if name not in CONTESTANTS:
            raise PromptError(f"unknown contestant {name!r}: {did_you_mean(name, CONTESTANTS)}")
    wanted = {"text_prompt", *names}
    return [one for name, make in CONTESTANTS.items() if name in wanted for one in make(options)]


def _remote(options: ComparisonOptions) -> RemoteContestant:
    asked = options.remote
    if asked is None:
        return RemoteContestant(None)
    return RemoteContestant(
        RemoteSettings(
            asked.base_url,
            asked.model,
            key_variable=asked.key_variable,
            allows_insecure=asked.allows_insecure,
            max_calls=asked.max_calls,
        )
    )
