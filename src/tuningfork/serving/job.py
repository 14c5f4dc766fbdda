"""A request while it is worked on."""

import time

from tuningfork.errors import ContextLengthError, ServingError
from tuningfork.models.artefacts import (
    AdaptedPrompt,
    EncoderDecoderPrompt,
    HeadedPrefix,
    HeadedPrompt,
    PlacedPrompt,
    SoftPrompt,
)
from tuningfork.models.prefix import PrefixState
from tuningfork.models.reading import Reading
from tuningfork.serving.answer import Answer
from tuningfork.serving.requests import GenerationRequest, LoadedPrompt, TokenLogProbability
from tuningfork.serving.sampling import check_settings
from tuningfork.serving.stream import Mailbox
from tuningfork.serving.text_stream import Detokenizer


class Job:
    """A request, the answer it has so far, and what the model holds for it."""

    def __init__(self, request: GenerationRequest, detokenizer: Detokenizer, end_ids: frozenset[int]) -> None:
        self.request = request
        self.answer = Answer(request, detokenizer, end_ids)
        self.mailbox = Mailbox()
        self.started = time.monotonic()
        self.admitted: float | None = None
        self.is_running = False
        """Whether its row is among those that run."""
        self.is_over = False
        self.num_prompt_tokens = num_front_tokens(request.prompt) + len(request.ids)
        self.num_cached_tokens = 0
        self.prefix: PrefixState | None = None
        """What the model made of the prompt, while it is in use."""
        self.reading: Reading | None = None
        self.scores: list[TokenLogProbability] = []
        """Log-probabilities of the tokens of the row that were read, where they are wanted."""

    @property
    def most_tokens(self) -> int:
        """How long its row can become, with prompt and answer."""
        return self.num_prompt_tokens + self.request.sampling.max_tokens

    @property
    def wants_scores(self) -> bool:
        """Whether the log-probabilities of its row are wanted."""
        return self.request.sampling.wants_prompt_log_probabilities

    @property
    def seconds(self) -> float:
        """Since the request came."""
        return time.monotonic() - self.started

    @property
    def is_late(self) -> bool:
        """Whether its deadline has passed."""
        deadline = self.request.deadline_seconds
        return deadline is not None and self.seconds >= deadline


def num_front_tokens(prompt: LoadedPrompt) -> int:
    """How many tokens stand in front of every row behind `prompt`."""
    return _num_soft_tokens(prompt.soft) + len(prompt.text_ids)


def _num_soft_tokens(soft: SoftPrompt | tuple[int, ...] | None) -> int:
    match soft:
        case None:
            return 0
        case AdaptedPrompt(prompt=prompt):
            return _num_soft_tokens(prompt)
        case EncoderDecoderPrompt(encoder=read):
            return _num_soft_tokens(read)
        case PlacedPrompt(prefix_ids=ids):
            return len(ids)
        case tuple():
            return len(soft)
        case _:
            return soft.num_virtual_tokens


def check_request(
    request: GenerationRequest, *, vocabulary_size: int, maximum_length: int | None, scores_rows: bool
) -> None:
    """Check what can be known of `request` before it is worked on.

    Raises:
        ServingError: if a setting or a token cannot be, or the prompt says no words.
        ContextLengthError: if prompt, row and answer cannot fit.
    """
    check_settings(request.sampling, vocabulary_size)
    if request.deadline_seconds is not None and not request.deadline_seconds > 0:
        raise ServingError(f"deadline_seconds must be above 0, found {request.deadline_seconds:g}")
    if (largest := max(request.ids, default=0)) >= vocabulary_size:
        raise ServingError(f"token {largest} is not in the model's vocabulary of {vocabulary_size}")
    soft = request.prompt.soft
    if isinstance(soft.prompt if isinstance(soft, AdaptedPrompt) else soft, HeadedPrefix | HeadedPrompt):
        raise ServingError(
            f"prompt {request.prompt.name} tells labels apart by a head and says no words; score its labels"
        )
    if request.sampling.wants_prompt_log_probabilities and not scores_rows:
        raise ServingError("this model says nothing of its input, so it has no prompt log-probabilities")
    # The last token of an answer is not read.
    longest = num_front_tokens(request.prompt) + len(request.ids) + max(0, request.sampling.max_tokens - 1)
    if maximum_length is not None and longest > maximum_length:
        raise ContextLengthError(
            f"prompt + input + answer = {longest} tokens; the model's maximum is {maximum_length}; "
            "send less text, or ask for a shorter answer"
        )
