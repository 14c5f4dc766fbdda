"""The plain path: one unpadded row at a time, the prompt run again for each.

Taken by models whose state is not plain keys and values (Mamba, hybrids), where a prompt cannot be shared. It
is slow and always right.
"""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor
from transformers import PreTrainedModel

from tuningfork.errors import PromptError
from tuningfork.models.artefacts import (
    EncoderDecoderPrompt,
    HeadedPrefix,
    HeadedPrompt,
    InstancePrompt,
    KeyValuePrefix,
    PlacedPrompt,
)
from tuningfork.models.embedding import check_placed, embed_row, embed_segment, embedding_weight
from tuningfork.models.instance import answer_start
from tuningfork.models.offsets import add_offsets, offsets_of
from tuningfork.models.path import Segment, TokenChooser
from tuningfork.models.prefix import PrefixState
from tuningfork.types import TokenIds


class PlainPath:
    """Runs any causal network that accepts `inputs_embeds`."""

    def __init__(self, network: PreTrainedModel) -> None:
        self._network = network

    @property
    def device(self) -> torch.device:
        """Where the network's input embeddings lie."""
        return embedding_weight(self._network).device

    def prefix(self, segments: Sequence[Segment]) -> PrefixState:
        """Embed `segments`; they are run with every row.

        Raises:
            PromptError: if one of them is a key-value prefix, which such a model has no place for, an
                instance prompt, a decomposed prompt that is not the first, or a soft prompt of another width.
        """
        offsets = offsets_of(segments, self.device)
        pieces = [embed_segment(self._network, ())]
        virtual: Tensor | None = None
        for segment in segments:
            if isinstance(segment, KeyValuePrefix | InstancePrompt | HeadedPrefix | HeadedPrompt):
                named = {InstancePrompt: "an instance prompt", HeadedPrompt: "a prompt with a head"}
                kind = named.get(type(segment), "a key-value prefix")
                raise PromptError(
                    f"{self._network.config.model_type} takes the plain path, where {kind} "
                    "cannot be used; use prompt tuning"
                )
            if isinstance(segment, EncoderDecoderPrompt):
                raise PromptError(
                    f"the prompt is for an encoder-decoder model, and {self._network.config.model_type} is "
                    "none"
                )
            if isinstance(segment, PlacedPrompt):
                check_placed(self._network, segment)
                virtual = segment.embeddings.to(self.device)
                pieces.append(embed_row(self._network, segment.prefix_ids, virtual))
            else:
                pieces.append(embed_segment(self._network, segment))
        embeddings = torch.cat(pieces)
        return PrefixState(embeddings.shape[0], embeddings=embeddings, virtual=virtual, offsets=offsets)

    def prompt_logits(self, prefix: PrefixState, at: Sequence[int]) -> Tensor:
        """Next-token logits (N, V) after the tokens of the prompt named by `at`; it is run again for them."""
        return self._logits((), prefix, 0)[list(at)].float()

    def logits(
        self, rows: Sequence[TokenIds], prefixes: Sequence[PrefixState], at: Sequence[Sequence[int]]
    ) -> Tensor:
        """Next-token logits (N, V) after the tokens of each row named by `at`, in order."""
        return torch.cat(
            [
                self.row_logits(row, prefix, answer_start(positions, row))[
                    torch.tensor(list(positions), device=self.device)
                ]
                for row, prefix, positions in zip(rows, _one_each(prefixes, len(rows)), at, strict=True)
                if positions
            ]
        )

    def score(
        self, rows: Sequence[TokenIds], prefixes: Sequence[PrefixState], choices: Sequence[TokenIds]
    ) -> Tensor:
        """Log-probability (B, C) of each choice as the continuation of each row."""
        scores = []
        for row, prefix in zip(rows, _one_each(prefixes, len(rows)), strict=True):
            for choice in choices:
                logits = self.row_logits([*row, *choice[:-1]], prefix, len(row))[len(row) - 1 :]
                target = torch.tensor(list(choice), device=self.device)[:, None]
                scores.append(logits.log_softmax(dim=-1).gather(1, target).sum())
        return torch.stack(scores).view(len(rows), len(choices))

    def generate(
        self, rows: Sequence[TokenIds], prefixes: Sequence[PrefixState], choose: TokenChooser
    ) -> list[list[int]]:
        """New tokens of each row, the whole row run again for each token."""
        for index, (row, prefix) in enumerate(zip(rows, _one_each(prefixes, len(rows)), strict=True)):
            while choose.step_row(
                index, self.row_logits([*row, *choose.tokens[index]], prefix, len(row))[-1]
            ):
                pass
        return choose.tokens

    def row_logits(self, row: TokenIds, prefix: PrefixState, start: int) -> Tensor:
        """Logits (T, V) of one row, whose answer begins at `start`, in float32."""
        return self._logits(row, prefix, start)[prefix.num_tokens :].float()

    def _logits(self, row: TokenIds, prefix: PrefixState, start: int) -> Tensor:
        """Logits (P + T, V) of the prompt and one row."""
        if prefix.embeddings is None:
            raise PromptError("the prefix was made by another model's path")
        text = add_offsets(embed_row(self._network, row, prefix.virtual)[None], [prefix.offsets], [start])
        embeddings = torch.cat([prefix.embeddings.to(text.dtype)[None], text], dim=1)
        output = self._network(inputs_embeds=embeddings, use_cache=False)
        return cast(Tensor, output.logits[0])


def _one_each(prefixes: Sequence[PrefixState], rows: int) -> list[PrefixState]:
    if len(prefixes) not in (1, rows):
        raise ValueError(f"{rows} rows need 1 prefix or {rows}, found {len(prefixes)}")
    return list(prefixes) if len(prefixes) == rows else list(prefixes) * rows
