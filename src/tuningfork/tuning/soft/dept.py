"""DePT: a shorter soft prompt, and a low-rank offset of the tokens of each row by their position."""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from tuningfork.models.artefacts import DecomposedPrompt
from tuningfork.models.instance import answer_start
from tuningfork.tuning.soft.method import Beginning, Kind
from tuningfork.types import TrainingRow

_LEARNED_SHARE = 0.4
_MOST_OFFSET_TOKENS = 256
_MOST_ROWS_READ = 256


class DePT:
    """Learns `prompt` (m, H), and `down` (M, R) and `up` (R, H), whose product is added to a row's tokens.

    Source: Shi, Lipani 2024, "DePT: Decomposed Prompt Tuning for Parameter-Efficient Fine-tuning", arXiv
    2309.05173, section 2.2. A prompt of P tokens is decomposed so that no more is learned than before,
    m * H + (M + H) * R <= P * H: m is 0.4 * P, as there (40 of 100), and R what the rest pays for, but no
    more than M or H; each at least 1, which a text of a few tokens cannot pay. `down` is drawn, `up` starts
    at zero, and both learn at a tenth of the prompt's rate; the paper searches the two rates.

    Unlike there, the first P - m tokens of the text are not dropped, but stay in front as they are: step 0
    equals the text prompt, and its length is not saved. M is not fixed at 256, but the length of the longest
    training row up to its answer (of the first 256 rows, and at most 256): where no token was seen, nothing
    is added. The paper offsets what an encoder reads; here it is the row up to its answer.
    """

    name: ClassVar[str] = "dept"
    title: ClassVar[str] = "DePT"
    peft_type: ClassVar[str | None] = None
    kind: ClassVar[Kind] = "offset"
    equals_text_at_start: ClassVar[bool] = True
    rate_factors: ClassVar[Mapping[str, float]] = MappingProxyType({"down": 0.1, "up": 0.1})

    def start(self, given: Beginning) -> nn.Module:
        """`prompt`, `down` and `up`, float32, beside `text`, the tokens in front that stay as they are."""
        num_tokens, width = given.tokens.shape
        num_offset = min(
            max(map(_input_length, given.rows[:_MOST_ROWS_READ]), default=1), _MOST_OFFSET_TOKENS
        )
        num_learned = max(1, round(_LEARNED_SHARE * num_tokens))
        paid = (num_tokens - num_learned) * width // (num_offset + width)
        rank = min(max(1, paid), num_offset, width)
        module = nn.Module()
        module.register_buffer("text", given.tokens[:-num_learned].clone())
        module.prompt = nn.Parameter(given.tokens[-num_learned:].clone())
        # The spread of an offset must not depend on the rank.
        module.down = nn.Parameter(torch.randn(num_offset, rank, generator=given.generator) / math.sqrt(rank))
        module.up = nn.Parameter(torch.zeros(rank, width))
        return module

    def materialize(self, module: nn.Module) -> DecomposedPrompt:
        """The text with its end learned, and the pair as it is."""
        text, prompt, down, up = (
            cast(Tensor, getattr(module, name)) for name in ("text", "prompt", "down", "up")
        )
        return DecomposedPrompt(torch.cat([text, prompt]), down, up)


def _input_length(row: TrainingRow) -> int:
    """How many tokens of `row` stand before its last answer."""
    return answer_start([position - 1 for position in row.label_positions], row.ids)
