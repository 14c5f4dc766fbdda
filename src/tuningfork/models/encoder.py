"""The encoder path: prompt and row are read together, in both directions, and masks are filled.

In an encoder virtual tokens see the row, so nothing that is made of a prompt can be shared among rows: every
row is run with its prompt. A label is scored where it would stand, at mask tokens, or by a head on [CLS].
"""

from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any, NoReturn, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import pad
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedModel

from tuningfork.errors import PromptError
from tuningfork.models.artefacts import (
    EncoderDecoderPrompt,
    HeadedPrefix,
    HeadedPrompt,
    InstancePrompt,
    KeyValuePrefix,
    PlacedPrompt,
    without_head,
)
from tuningfork.models.embedding import check_placed, embed_row, embed_segment, embedding_weight
from tuningfork.models.fitting import fitted_head, fitted_layers, head_shapes
from tuningfork.models.offsets import add_offsets, offsets_of
from tuningfork.models.packing import additive_mask
from tuningfork.models.path import Segment, TokenChooser
from tuningfork.models.prefix import KeyValues, PrefixState, cache_layers, new_cache
from tuningfork.types import TokenIds

_NEVER_BEHIND = KeyValuePrefix | HeadedPrefix | HeadedPrompt | InstancePrompt | EncoderDecoderPrompt
_CHOSEN: ContextVar[tuple["EncoderPath", Tensor] | None] = ContextVar("_CHOSEN", default=None)
"""Which path is running in this thread, and the places (B, N) whose states alone its vocabulary meets."""


@dataclass(frozen=True, slots=True)
class _Sequence:
    """One row with its prompt, as it is run."""

    embeddings: Tensor
    """(T, H) of all that is run: virtual tokens and words."""
    prefix: PrefixState
    places: tuple[int, ...]
    """Where its outputs are wanted."""


class EncoderPath:
    """Runs a network that reads in both directions.

    A row holds one mask token, where its answer stands; it becomes as many as a choice has tokens, or none
    where a head reads the row. The score of a choice is the sum of the log-probabilities of its tokens, each
    at its mask with all masks unfilled, which takes one forward for all choices of equal length.

    Source: Schick, Schütze 2021, "Exploiting Cloze Questions for Few Shot Text Classification and Natural
    Language Inference", arXiv 2001.07676, section 3, and "It's Not Just Size That Matters: Small Language
    Models Are Also Few-Shot Learners", arXiv 2009.07118, section 3.1, for several masks. There training fills
    all masks of the longest choice at once and inference one after the other; here both give each choice the
    masks it needs, in one go, so that what is trained is what is measured.
    """

    def __init__(self, network: PreTrainedModel, mask_id: int | None) -> None:
        """Run `network`, whose tokenizer's mask token is `mask_id`."""
        self._network = network
        self._encoder = network.base_model
        self._mask_id = mask_id
        has_words = network.get_output_embeddings() is not None  # type: ignore[no-untyped-call]
        self.says_words = has_words and mask_id is not None
        """Whether it can fill masks; else only a head of a prompt can tell labels apart."""
        self.pads_rows = True
        """Whether padding leaves rows as they are, found out by `probe_encoder`; else each is run alone."""
        self.takes_key_values = False
        """Whether layers take keys and values from outside, found out by `probe_encoder`."""
        self.position_offset = _position_offset(self._encoder)
        """The position of a first token; where it is not 0, so many fewer tokens fit."""
        if self.says_words:
            self._encoder.register_forward_hook(self._keep_chosen)

    @property
    def device(self) -> torch.device:
        """Where the network's input embeddings lie."""
        return embedding_weight(self._network).device

    @property
    def state_size(self) -> int:
        """Width of the hidden states, which may not be that of the embeddings."""
        return int(self._network.config.hidden_size)

    def prefix(self, segments: Sequence[Segment]) -> PrefixState:
        """Embed `segments`; they are run with every row.

        Raises:
            PromptError: if one of them is an instance prompt, a key-value prefix that is not the first or
                that the layers do not take, or does not fit the model.
        """
        first, head = without_head(segments[0] if segments else ())
        rest, head = segments[1:], head and fitted_head(head, self.state_size, self.device)
        state = PrefixState(0, head=head, offsets=offsets_of([first, *rest], self.device))
        if isinstance(first, KeyValuePrefix):
            state = replace(state, num_tokens=first.num_virtual_tokens, layers=self._key_value_layers(first))
            first = ()
        pieces, first_word, virtual = [embed_segment(self._network, ())], None, None
        for segment in (first, *rest):
            if isinstance(segment, _NEVER_BEHIND):
                raise PromptError(
                    "this prompt cannot stand here: an encoder takes keys and values, and prompts with a "
                    "head, as the first segment, and no instance prompts nor those of encoder-decoders"
                )
            ids = segment.prefix_ids if isinstance(segment, PlacedPrompt) else segment
            if isinstance(ids, Sequence) and first_word is None:
                words = [index for index, token in enumerate(ids) if token >= 0]
                first_word = sum(map(len, pieces)) + words[0] if words else None
            if isinstance(segment, PlacedPrompt):
                check_placed(self._network, segment)
                virtual = segment.embeddings.to(self.device)
                pieces.append(embed_row(self._network, segment.prefix_ids, virtual))
            else:
                pieces.append(embed_segment(self._network, segment))
        embeddings = torch.cat(pieces)
        return replace(
            state,
            num_tokens=state.num_tokens + len(embeddings),
            embeddings=embeddings,
            virtual=virtual,
            first_word=first_word,
        )

    @torch.no_grad()
    def key_values(self, embeddings: Tensor) -> tuple[KeyValues, ...]:
        """Keys and values per layer, each (A, P, D), of virtual tokens (P, H) that see only each other."""
        cache = new_cache()
        self._encoder(
            inputs_embeds=embeddings[None].to(self.device, self._network.dtype), past_key_values=cache
        )
        return tuple((pair[0][0], pair[1][0]) for pair in cache_layers(cache) if pair is not None)

    def score(
        self, rows: Sequence[TokenIds], prefixes: Sequence[PrefixState], choices: Sequence[TokenIds]
    ) -> Tensor:
        """Log-probability (B, C) of each choice at the masks of each row.

        Where a prompt has a head, it tells the choices apart on the state of the first token of the
        vocabulary, and no mask is run. A network without a masked-LM head knows nothing of labels: all are
        equally likely.
        """
        each = list(prefixes) if len(prefixes) == len(rows) else list(prefixes) * len(rows)
        heads = [prefix.head for prefix in each]
        if any(head is not None for head in heads):
            states = self._first_states(rows, each)
            if any(head is None for head in heads):
                raise PromptError("prompts with a head and prompts without one cannot be mixed in one batch")
            told = [head.log_probabilities(state) for head, state in zip(heads, states, strict=True) if head]
            return torch.stack(told)
        if not self.says_words:
            shape = (len(rows), len(choices))
            return torch.full(shape, 1 / len(choices), device=self.device).log()
        columns: dict[int, Tensor] = {}
        for length in sorted({len(choice) for choice in choices}):
            said = self._mask_logits(rows, each, length).log_softmax(dim=-1)  # (B, N, V)
            indices = [index for index, choice in enumerate(choices) if len(choice) == length]
            ids = torch.tensor([list(choices[index]) for index in indices], device=said.device)  # (C, N)
            scores = said[:, torch.arange(length, device=said.device), ids].sum(dim=-1)  # (B, C)
            columns |= dict(zip(indices, scores.unbind(dim=1), strict=True))
        return torch.stack([columns[index] for index in range(len(choices))], dim=1)

    def outputs(
        self, rows: Sequence[TokenIds], prefixes: Sequence[PrefixState], places: Sequence[Sequence[int]]
    ) -> Tensor:
        """What the network says at tokens of each row, equally many of each: logits (B, N, V) in float32.

        Without a masked-LM head it is the last hidden states (B, N, H).
        """
        each = list(prefixes) if len(prefixes) == len(rows) else list(prefixes) * len(rows)
        sequences = [
            self._sequence(row, prefix, at) for row, prefix, at in zip(rows, each, places, strict=True)
        ]
        return self._run(sequences, says_words=self.says_words)

    def states(
        self, rows: Sequence[TokenIds], prefixes: Sequence[PrefixState], at: Sequence[Sequence[int]]
    ) -> Tensor:
        """Last hidden states (N, H) of the tokens of each row named by `at`, in order."""
        each = list(prefixes) if len(prefixes) == len(rows) else list(prefixes) * len(rows)
        most = max(map(len, at))
        # Rows name different numbers of tokens; what is named too often is left out again.
        sequences = [
            self._sequence(row, prefix, [*places, *[0] * (most - len(places))])
            for row, prefix, places in zip(rows, each, at, strict=True)
        ]
        states = self._run(sequences, says_words=False)
        return torch.cat([row[: len(places)] for row, places in zip(states, at, strict=True)])

    def logits(
        self, rows: Sequence[TokenIds], prefixes: Sequence[PrefixState], at: Sequence[Sequence[int]]
    ) -> Tensor:
        """An encoder predicts no next token.

        Raises:
            PromptError: always.
        """
        self._refuse_to_continue()

    def prompt_logits(self, prefix: PrefixState, at: Sequence[int]) -> Tensor:
        """An encoder predicts no next token.

        Raises:
            PromptError: always.
        """
        self._refuse_to_continue()

    def generate(
        self, rows: Sequence[TokenIds], prefixes: Sequence[PrefixState], choose: TokenChooser
    ) -> list[list[int]]:
        """An encoder writes no text.

        Raises:
            PromptError: always.
        """
        self._refuse_to_continue()

    def _refuse_to_continue(self) -> NoReturn:
        raise PromptError(
            f"{self._network.config.model_type} is an encoder: it fills masks and continues no text; score "
            "choices with it, or use a decoder model"
        )

    def _mask_logits(self, rows: Sequence[TokenIds], prefixes: Sequence[PrefixState], count: int) -> Tensor:
        """Logits (B, N, V) at the masks of rows, `count` of them in each."""
        widened, places = [], []
        for row in rows:
            start = self._mask_of(row)
            widened.append([*row[:start], *[row[start]] * count, *row[start + 1 :]])
            places.append(range(start, start + count))
        return self.outputs(widened, prefixes, places)

    def _mask_of(self, row: TokenIds) -> int:
        found = [index for index, token in enumerate(row) if token == self._mask_id]
        if len(found) != 1:
            raise PromptError(f"a row needs one mask token, where its answer stands; found {len(found)}")
        return found[0]

    def _first_states(self, rows: Sequence[TokenIds], prefixes: Sequence[PrefixState]) -> Tensor:
        """Last hidden states (B, H) of the first token of the vocabulary of each row, without any mask."""
        sequences = []
        for row, prefix in zip(rows, prefixes, strict=True):
            words = [token for token in row if token != self._mask_id]
            before = 0 if prefix.embeddings is None else len(prefix.embeddings)
            if prefix.first_word is None:
                in_row = next((index for index, token in enumerate(words) if token >= 0), 0)
            else:
                in_row = prefix.first_word - before
            sequences.append(self._sequence(words, prefix, [in_row]))
        return self._run(sequences, says_words=False)[:, 0]

    def _sequence(self, row: TokenIds, prefix: PrefixState, at: Sequence[int]) -> _Sequence:
        """One row as it is run; `at` counts from its own first token."""
        if prefix.embeddings is None:
            raise PromptError("the prefix was made by another model's path")
        words = embed_row(self._network, row, prefix.virtual)
        end = next((index for index, token in enumerate(row) if token == self._mask_id), len(row))
        words = add_offsets(words[None], [prefix.offsets], [end])[0]
        before = len(prefix.embeddings)
        embeddings = torch.cat([prefix.embeddings.to(words.dtype), words])
        return _Sequence(embeddings, prefix, tuple(before + place for place in at))

    def _run(self, sequences: Sequence[_Sequence], *, says_words: bool) -> Tensor:
        """Logits (B, N, V) in float32 or, unless it `says_words`, states (B, N, H) at the places wanted."""
        if len(sequences) > 1 and not self.pads_rows:
            return torch.cat([self._run([sequence], says_words=says_words) for sequence in sequences])
        embeddings = pad_sequence([sequence.embeddings for sequence in sequences], batch_first=True)
        places = torch.tensor([sequence.places for sequence in sequences], device=self.device)
        arguments = {"inputs_embeds": embeddings, **self._attention(sequences, embeddings.shape[1])}
        if not says_words:
            return _gathered(cast(Tensor, self._encoder(**arguments).last_hidden_state), places)
        token = _CHOSEN.set((self, places))
        try:
            return cast(Tensor, self._network(**arguments).logits).float()
        finally:
            _CHOSEN.reset(token)

    def _keep_chosen(self, _encoder: nn.Module, _args: tuple[Any, ...], output: Any) -> Any:
        """Leave of the last hidden states those that were chosen, so that only they meet the vocabulary."""
        chosen = _CHOSEN.get()
        if chosen is not None and chosen[0] is self:
            output.last_hidden_state = _gathered(output.last_hidden_state, chosen[1])
        return output

    def _attention(self, sequences: Sequence[_Sequence], width: int) -> dict[str, Any]:
        """What each of `sequences`, padded on the right to `width`, may see, and where it stands."""
        lengths = torch.tensor([len(sequence.embeddings) for sequence in sequences], device=self.device)
        steps = torch.arange(width, device=self.device)
        is_row = steps[None] < lengths[:, None]
        all_layers = [sequence.prefix.layers for sequence in sequences]
        if not any(all_layers):
            return {"attention_mask": is_row.long()}
        counts = torch.tensor([_num_slots(layers) for layers in all_layers], device=self.device)
        most = int(counts.max())
        is_prefix = torch.arange(most, device=self.device)[None] < counts[:, None]
        is_visible = torch.cat([is_prefix, is_row], dim=1)[:, None].expand(-1, width, -1)
        positions = self.position_offset + counts[:, None] + steps[None]
        # Padding may lie beyond the last position there is.
        last = int(getattr(self._network.config, "max_position_embeddings", 2**31)) - 1
        return {
            "attention_mask": additive_mask(is_visible, self._network.dtype),
            "position_ids": positions.clamp(max=last),
            "past_key_values": new_cache(_stacked(all_layers, most, self._network.dtype)),
        }

    def _key_value_layers(self, prefix: KeyValuePrefix) -> tuple[KeyValues, ...]:
        kind = self._network.config.model_type
        if not self.takes_key_values:
            raise PromptError(f"{kind}'s layers take no keys and values from outside; use prompt tuning")
        shapes = [head_shapes(*pair) for pair in self.key_values(embed_segment(self._network, (0,)))]
        return fitted_layers(prefix, shapes, device=self.device, dtype=torch.float32)


def _gathered(states: Tensor, places: Tensor) -> Tensor:
    """States (B, N, H) at `places` (B, N) of `states` (B, T, H)."""
    return states.gather(1, places[..., None].expand(-1, -1, states.shape[-1]))


def _num_slots(layers: Sequence[KeyValues | None]) -> int:
    return next((pair[0].shape[2] for pair in layers if pair is not None), 0)


def _stacked(
    all_layers: Sequence[Sequence[KeyValues | None]], most: int, dtype: torch.dtype
) -> list[KeyValues]:
    """Keys and values per layer (B, A, P, D) of rows with prefixes of up to `most` tokens, or none."""
    example = next(layers for layers in all_layers if layers)
    stacked = []
    for index, shaped in enumerate(example):
        assert shaped is not None
        sides = []
        for side in (0, 1):
            parts = []
            for layers in all_layers:
                pair = layers[index] if layers else None
                part = shaped[side][:, :, :0] if pair is None else pair[side]
                parts.append(pad(part.to(dtype), (0, 0, 0, most - part.shape[2])))
            sides.append(torch.cat(parts))
        stacked.append((sides[0], sides[1]))
    return stacked


def _position_offset(encoder: Any) -> int:
    """The position of a first token: tables with a row for padding, as RoBERTa's, begin behind it."""
    for name, module in encoder.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding):
            return 0 if module.padding_idx is None else module.padding_idx + 1
    return 0
