"""What the engine is asked, and what it answers."""

from collections.abc import AsyncIterator, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from torch import Tensor

from tuningfork.models.artefacts import AdaptedPrompt, SoftPrompt
from tuningfork.types import TokenIds

FinishReason = Literal["stop", "length", "deadline", "cancelled"]


@dataclass(frozen=True, slots=True)
class LoadedPrompt:
    """A prompt as it is served: what stands in front of every row that asks for it.

    `key` names exactly these bytes on this model, so that what was computed for one request serves the next;
    a request keeps the prompt it began with, whatever the alias that named it does meanwhile.
    """

    key: Hashable
    name: str
    soft: SoftPrompt | AdaptedPrompt | None = None
    text_ids: TokenIds = ()
    """Tokens of the text in front of every row that are equal for all of them."""
    end_ids: frozenset[int] = frozenset()
    """Tokens that end an answer behind it, besides those that end every text of the model."""


@dataclass(frozen=True, slots=True)
class SamplingSettings:
    """How the next token is chosen, and when to stop.

    Neutral values change nothing: 0 for `top_k`, 1 for `top_p` and `repetition_penalty`, 0 for the others.
    """

    max_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    seed: int | None = None
    """Two requests with one seed and equal settings have one answer, whatever runs beside them."""
    stop: tuple[str, ...] = ()
    """Texts that end the answer and are left out of it."""
    stop_token_ids: frozenset[int] = frozenset()
    ignores_end: bool = False
    min_tokens: int = 0
    num_top: int | None = None
    """Of how many likely tokens the log-probabilities are wanted beside the chosen one's; None for none."""
    wants_prompt_log_probabilities: bool = False


class Grammar(Protocol):
    """Which tokens may come next in one answer."""

    def allowed(self) -> Tensor:
        """Whether each token (V,) may come next; booleans on the CPU."""

    def accept(self, token: int) -> None:
        """Go on behind `token`, which must have been allowed."""


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """One answer asked for: a prompt, the row behind it and how to go on."""

    id: str
    prompt: LoadedPrompt
    ids: TokenIds
    sampling: SamplingSettings
    grammar: Grammar | None = None
    deadline_seconds: float | None = None
    """Seconds from submission after which the answer ends as it stands."""


@dataclass(frozen=True, slots=True)
class TokenLogProbability:
    """What the model thought of one token, before any setting changed it."""

    token: int
    log_probability: float | None
    """None for the first token of a row that has nothing in front."""
    top: Sequence[tuple[int, float]] = ()


@dataclass(frozen=True, slots=True)
class Delta:
    """The next piece of an answer; the last one has a `finish_reason`.

    `text` never ends within a character, nor within what may become a stop text; so it may be empty while
    tokens were made. Texts of all deltas joined are the answer.
    """

    text: str
    tokens: tuple[int, ...] = ()
    log_probabilities: tuple[TokenLogProbability, ...] = ()
    finish_reason: FinishReason | None = None
    num_cached_tokens: int = 0
    """On the first delta: how many tokens in front were not computed for this request."""
    prompt_log_probabilities: tuple[TokenLogProbability, ...] = ()
    """On the first delta, where they were asked for: one a token of the row."""


class Engine(Protocol):
    """Answers requests, many at a time."""

    def submit(self, request: GenerationRequest) -> AsyncIterator[Delta]:
        """Begin to answer; closing the iterator cancels.

        Raises:
            QueueFullError: at once, if too many wait already.
            ContextLengthError: at once, if prompt, row and answer cannot fit.
        """
