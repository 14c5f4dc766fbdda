"""Context-aware prompt tuning: demonstrations in front, whose tokens move a little, their labels not."""

from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from typing import ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from tuningfork.errors import PromptError
from tuningfork.models.artefacts import InputPrompt
from tuningfork.models.frozen import FrozenModel
from tuningfork.models.parts import ContextTokens
from tuningfork.models.prefix import PrefixState
from tuningfork.tuning.soft.method import Beginning, Kind
from tuningfork.tuning.soft.row_parts import input_of, shared_ending
from tuningfork.types import TrainingRow

INPUT_EPSILON = 0.1
"""How far tokens of a demonstration's words may move, as a share of the mean norm of all tokens."""
FORMAT_EPSILON = 0.1
"""The same for tokens of the text and of headers."""
LOSS_DECAY = 0.95
"""By this factor a demonstration's labels weigh less than those of the one behind it, at last the row."""

_MOST_CONTEXT_TOKENS = 512
_MOST_ROWS_READ = 500
_VOCABULARY_CHUNK = 8192


class ContextAwarePromptTuning:
    """Learns `delta` (M, H), by which tokens of the text and of demonstrations move; labels stay.

    Source: Blau, Kimhi, Belinkov, Bronstein, Baskin 2024, "Context-aware Prompt Tuning: Advancing In-Context
    Learning with Adversarial Methods", arXiv 2410.17222: the context is made of training examples, projected
    gradient descent keeps each token within an L2 distance of where it was, and the loss of a row is that of
    its label plus those of the context's labels, weighted by a decay of 0.95 from the row backwards.

    Step 0 equals few-shot prompting with the same tokens: the text, then demonstrations as rows are, from
    their first words to the end of their answers, with nothing in between. With no rows it equals the text
    prompt. Unlike in the paper:

    - A row that is shown is not trained on, as it would find its own answer in front of it. Its label is
      still learned, in the context, from what stands before it only. At most half of the rows are shown.
    - Labels of the context do not depend on the row, so their loss is computed once a step; it equals the
      mean of the sums over rows. A demonstration's is the mean over its label tokens, over the vocabulary.
    - Distances are shares of the mean norm of the context's tokens, as embeddings differ in size by model.
    - The optimizer is the loop's AdamW, and the projection follows each of its steps.

    PEFT's own CPT stores the ids and types of the context beside the sum of embeddings and delta. A run keeps
    them for an export, and acts without them.
    """

    name: ClassVar[str] = "context_aware_prompt_tuning"
    title: ClassVar[str] = "context-aware prompt tuning"
    peft_type: ClassVar[str | None] = "CPT"
    kind: ClassVar[Kind] = "input"
    equals_text_at_start: ClassVar[bool] = True

    def start(self, given: Beginning) -> nn.Module:
        """`delta` of zeros for the text and as many rows as fit, balanced over choices, in a drawn order.

        Raises:
            PromptError: if the model reads prompts with an encoder, which does not say their labels.
        """
        if given.model.is_encoder_decoder:
            raise PromptError(
                f"{self.name} is not possible with {given.model.name}: {given.model.support.reason} and does "
                "not say the labels in it; use prompt tuning"
            )
        drawn = torch.randperm(len(given.rows), generator=given.generator)[:_MOST_ROWS_READ].tolist()
        pool = {index: given.rows[index] for index in drawn}
        shown = _choose(pool, _room(given, pool) - len(given.tokens))
        order = torch.randperm(len(shown), generator=given.generator).tolist()
        header = shared_ending([input_of(row) for row in pool.values()])
        return Context(
            given.model, given.tokens, {shown[place]: pool[shown[place]] for place in order}, header
        )

    def materialize(self, module: nn.Module) -> InputPrompt:
        """The context with what is learned added."""
        context = cast(Context, module)
        return InputPrompt(context.embeddings.index_add(0, context.learned, context.delta))

    def parts(self, model: FrozenModel, module: nn.Module) -> ContextTokens:
        """The tokens of the context; for those of the text, whose ids are not given, the nearest ones."""
        context = cast(Context, module)
        text = context.embeddings[: len(context.types) - len(context.row_ids)]
        ids = (*_nearest_tokens(model, text), *context.row_ids)
        return ContextTokens(ids, (1,) * len(ids), context.types)

    def shown_rows(self, module: nn.Module) -> Sequence[int]:
        """Indices of the demonstrations, in order, among the rows that `start` was given."""
        return cast(Context, module).shown_rows

    def own_loss(self, model: FrozenModel, module: nn.Module, prefix: PrefixState) -> Tensor:
        """The weighted sum of the losses of the demonstrations' labels."""
        context = cast(Context, module)
        logits = model.prompt_logits(prefix, [position - 1 for position in context.label_positions])
        return cross_entropy(logits, context.label_ids, reduction="none") @ context.label_weights

    @torch.no_grad()
    def constrain(self, module: nn.Module) -> None:
        """Project the delta of each token onto the ball that it must not leave."""
        context = cast(Context, module)
        norms = context.delta.norm(dim=1, keepdim=True)
        context.delta.mul_((context.epsilon[:, None] / norms).clamp(max=1.0))


class Context(nn.Module):
    """Tokens of a text and demonstrations, `embeddings` (P, H), and `delta` (M, H) of those that may move.

    Only `delta` is state: the rest is made again from the same rows and generator.
    """

    embeddings: Tensor
    learned: Tensor
    """Where the tokens of `delta` stand, (M,)."""
    epsilon: Tensor
    """How far each of them may move, (M,)."""
    label_ids: Tensor
    label_weights: Tensor

    def __init__(
        self, model: FrozenModel, text: Tensor, shown: Mapping[int, TrainingRow], num_header_tokens: int
    ) -> None:
        """The text, then each of the rows of `shown`."""
        super().__init__()
        pieces, shares, labels = [text], [FORMAT_EPSILON] * len(text), list[tuple[int, int, float]]()
        types = [1] * len(text)
        for age, row in zip(range(len(shown), 0, -1), shown.values(), strict=True):
            weight = LOSS_DECAY**age / len(row.label_positions)
            labels += [(len(shares) + place, row.ids[place], weight) for place in row.label_positions]
            pieces.append(model.embed(row.ids).to("cpu", torch.float32))
            types += _types(row, num_header_tokens, first=4 * (len(shown) - age))
            shares += _shares(row, num_header_tokens)
        embeddings, epsilon = torch.cat(pieces), torch.tensor(shares)
        learned = epsilon.nonzero()[:, 0]
        scale = embeddings.norm(dim=1).mean()
        self.shown_rows = tuple(shown)
        self.row_ids = tuple(token for row in shown.values() for token in row.ids)
        self.types = tuple(types)
        self.label_positions = tuple(position for position, _, _ in labels)
        self.delta = nn.Parameter(torch.zeros(len(learned), text.shape[1]))
        for name, tensor in (
            ("embeddings", embeddings),
            ("learned", learned),
            ("epsilon", epsilon[learned] * scale),
            ("label_ids", torch.tensor([token for _, token, _ in labels], dtype=torch.long)),
            ("label_weights", torch.tensor([weight for _, _, weight in labels])),
        ):
            self.register_buffer(name, tensor, persistent=False)


def _shares(row: TrainingRow, num_header_tokens: int) -> list[float]:
    """The epsilon of each token of a demonstration; 0 for labels."""
    answer = len(input_of(row))
    header = range(answer - num_header_tokens, answer)
    shares = [FORMAT_EPSILON if place in header else INPUT_EPSILON for place in range(len(row.ids))]
    for place in row.label_positions:
        shares[place] = 0.0
    return shares


def _types(row: TrainingRow, num_header_tokens: int, *, first: int) -> list[int]:
    """The type of each token of a demonstration, counted from `first` as `ContextTokens` says."""
    answer = len(input_of(row))
    header = range(answer - num_header_tokens, answer)
    types = [first + 3 if place in header else first + 2 for place in range(len(row.ids))]
    for place in row.label_positions:
        types[place] = first + 4
    return types


@torch.no_grad()
def _nearest_tokens(model: FrozenModel, embeddings: Tensor) -> list[int]:
    """Of each of `embeddings` (P, H), the token whose own is nearest."""
    distances = [
        torch.cdist(embeddings.cpu(), model.embed(range(first, last)).to("cpu", torch.float32))
        for first in range(0, model.vocabulary_size, _VOCABULARY_CHUNK)
        for last in [min(first + _VOCABULARY_CHUNK, model.vocabulary_size)]
    ]
    return torch.cat(distances, dim=1).argmin(dim=1).tolist() if len(embeddings) else []


def _room(given: Beginning, pool: Mapping[int, TrainingRow]) -> int:
    """Tokens that a context may have: rows to come may be twice as long as those that are known."""
    maximum = given.model.maximum_length
    if maximum is None:
        return _MOST_CONTEXT_TOKENS
    longest = max((len(row.ids) for row in pool.values()), default=0)
    known = maximum if given.room is None else given.room
    return min(_MOST_CONTEXT_TOKENS, maximum // 2, maximum - 2 * longest, known)


def _choose(pool: Mapping[int, TrainingRow], room: int) -> list[int]:
    """Indices of rows that fit into `room` together, at most half of them; the choices take turns."""
    by_choice = defaultdict[int | None, list[int]](list)
    for index, row in pool.items():
        by_choice[row.choice].append(index)
    waiting, shown = deque(by_choice.values()), list[int]()
    while waiting and len(shown) < len(pool) // 2:
        group = waiting.popleft()
        fitting = next((index for index in group if len(pool[index].ids) <= room), None)
        if fitting is None:
            # Others may still fit, but would have it outnumbered.
            break
        shown.append(fitting)
        room -= len(pool[fitting].ids)
        group.remove(fitting)
        if group:
            waiting.append(group)
    return shown
