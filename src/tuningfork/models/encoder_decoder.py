"""The path of encoder-decoder models: an encoder reads prompt and input, a decoder says the answer.

An encoder sees in both directions, so that what it makes of a prompt depends on the row: it reads the prompt
again with each. What stands in front of the decoder as keys and values is learned directly and shared by all
rows. Rows are as everywhere, an input followed by an answer; they are cut where the answer starts, and what
follows the last token of the input is what the decoder says first.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import cast

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import DynamicCache, EncoderDecoderCache, PreTrainedModel

from tuningfork.errors import PromptError
from tuningfork.models.artefacts import (
    EncoderDecoderPrompt,
    HeadedPrefix,
    HeadedPrompt,
    InputPrompt,
    InstancePrompt,
    KeyValuePrefix,
    PlacedPrompt,
)
from tuningfork.models.batch import pad_rows
from tuningfork.models.classification_head import ClassificationHead
from tuningfork.models.embedding import (
    check_placed,
    check_width,
    embed_ids,
    embed_row,
    embed_segment,
    embedding_weight,
)
from tuningfork.models.fitting import HeadShapes, fitted_head, fitted_layers, head_shapes
from tuningfork.models.head import LogitsHead
from tuningfork.models.instance import answer_start
from tuningfork.models.offsets import add_offsets, offsets_of
from tuningfork.models.path import Segment, TokenChooser
from tuningfork.models.prefix import KeyValues, PrefixState, cache_layers, new_cache
from tuningfork.models.stems import Stem, maximal_stems
from tuningfork.types import TokenIds

_ROWS_PER_RUN = 64
"""How many continuations `score` runs at once; each holds a copy of its row's keys and values."""
DecoderSide = InputPrompt | KeyValuePrefix | HeadedPrefix


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """Rows that the encoder has read, up to where their answers begin."""

    rows: Sequence[int]
    """Which rows of a call these are."""
    states: Tensor
    """What the encoder made of them, (B, S, H), padded on the right."""
    mask: Tensor
    """1 where it is real, (B, S)."""
    cache: EncoderDecoderCache
    """What stands in front of the answers as keys and values."""
    opening: Tensor
    """What the decoder is given first, (B, T, H); its last token is followed by the answer."""

    def repeated(self, count: int) -> "Reading":
        """Each row `count` times, with what was run for it so far."""
        pairs = [
            [None if pair is None else (_repeat(pair[0], count), _repeat(pair[1], count)) for pair in layers]
            for layers in (
                cache_layers(self.cache.self_attention_cache),
                cache_layers(self.cache.cross_attention_cache),
            )
        ]
        cache = EncoderDecoderCache(*map(new_cache, pairs))
        states, mask, opening = (_repeat(part, count) for part in (self.states, self.mask, self.opening))
        return Reading(self.rows, states, mask, cache, opening)


class EncoderDecoderPath:
    """Runs a network that reads with an encoder and answers with a decoder.

    The decoder is given `opening_ids` before each answer: its start token and, where the model or its
    tokenizer wants one, the token that opens every answer. Positions count from what stands in front of them.
    """

    def __init__(self, network: PreTrainedModel, head: LogitsHead, opening_ids: TokenIds) -> None:
        self._network = network
        self._encoder = network.get_encoder()
        self._decoder = network.get_decoder()  # type: ignore[no-untyped-call]
        self._table = self._decoder.get_input_embeddings()
        self._head = head
        self.opening_ids = tuple(opening_ids)
        self.encoder_scale = 1.0
        """What the encoder multiplies the embeddings of tokens by, but not those it is given."""

    @property
    def device(self) -> torch.device:
        """Where the network's input embeddings lie."""
        return embedding_weight(self._network).device

    @property
    def num_opening_tokens(self) -> int:
        """Tokens that the decoder is given before every answer."""
        return len(self.opening_ids)

    def longest_side(
        self, lengths: Sequence[int], prefixes: Sequence[PrefixState], starts: Sequence[int], extra: int
    ) -> int:
        """Tokens of the longest sequence that the encoder or the decoder is given.

        Rows have `lengths` and answers from `starts` on, which `extra` more tokens follow.
        """
        read = max(starts, default=0) + max(prefix.num_tokens for prefix in prefixes)
        front = max(prefix.num_key_values + prefix.num_decoder_tokens for prefix in prefixes)
        answers = (length - start for length, start in zip(lengths, starts, strict=True))
        return max(read, front + self.num_opening_tokens + max(answers, default=0) + extra)

    def prefix(self, segments: Sequence[Segment]) -> PrefixState:
        """Embed `segments` for the encoder, and hold what stands in front of the decoder.

        Keys and values go in front of the decoder; everything else is read by the encoder.

        Raises:
            PromptError: if a soft prompt is none for such a model, is not the first segment where it must be,
                or does not fit the model.
        """
        offsets = offsets_of(segments, self.device)
        first, rest = (segments[0], segments[1:]) if segments else ((), ())
        decoder: DecoderSide | None = None
        if isinstance(first, EncoderDecoderPrompt):
            decoder, segments = first.decoder, [first.encoder, *rest]
        elif isinstance(first, KeyValuePrefix | HeadedPrefix):
            decoder, segments = first, rest
        pieces, virtual = [embed_segment(self._network, ())], None
        for segment in segments:
            if isinstance(segment, PlacedPrompt):
                check_placed(self._network, segment)
                virtual = segment.embeddings.to(self.device)
                pieces.append(embed_row(self._network, segment.prefix_ids, virtual))
            else:
                pieces.append(self._embed(segment))
        embeddings = torch.cat(pieces)
        head = (
            fitted_head(decoder.head, embedding_weight(self._network).shape[1], self.device)
            if isinstance(decoder, HeadedPrefix)
            else None
        )
        key_values = decoder.prefix if isinstance(decoder, HeadedPrefix) else decoder
        return PrefixState(
            embeddings.shape[0],
            layers=self._layers_of(key_values) if isinstance(key_values, KeyValuePrefix) else (),
            embeddings=embeddings,
            virtual=virtual,
            offsets=offsets,
            head=head,
            decoder=self._embed(key_values) if isinstance(key_values, InputPrompt) else None,
        )

    def prompt_logits(self, prefix: PrefixState, at: Sequence[int]) -> Tensor:
        """Nothing: an encoder says no words.

        Raises:
            PromptError: always.
        """
        raise PromptError(
            f"{self._network.config.model_type} reads its prompt with an encoder, which does not say what "
            "follows the prompt's own tokens; use another method"
        )

    @torch.no_grad()
    def key_values(self, embeddings: Tensor) -> tuple[KeyValues, ...]:
        """Keys and values, each (1, A, P, D), that the decoder computes for tokens (P, H) in its front.

        The encoder reads the same tokens, and the decoder attends to what it makes of them.
        """
        check_width(self._network, embeddings)
        tokens = embeddings.to(self.device, self._network.dtype)[None]
        states = self._encoder(inputs_embeds=tokens * self.encoder_scale).last_hidden_state
        mask = torch.ones(states.shape[:2], dtype=torch.long, device=self.device)
        cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
        self._decode(tokens, Reading((0,), states, mask, cache, tokens))
        made = cache_layers(cache.self_attention_cache)
        return tuple(pair for pair in made if pair is not None)

    def logits(
        self, rows: Sequence[TokenIds], prefixes: Sequence[PrefixState], at: Sequence[Sequence[int]]
    ) -> Tensor:
        """Next-token logits (N, V) after the tokens of each row named by `at`, in order; nothing else.

        Raises:
            ValueError: if `at` names a token of an input before its last, which nothing is said after.
        """
        starts = [answer_start(*pair) for pair in zip(at, rows, strict=True)]
        for positions, start in zip(at, starts, strict=True):
            if any(position < start - 1 for position in positions):
                raise ValueError(
                    "an encoder-decoder model says nothing inside an input: the answer starts at "
                    f"{start}, found positions {list(positions)}"
                )
        steps = [
            [position - start + 1 for position in found] for found, start in zip(at, starts, strict=True)
        ]
        states = self.answer_states(rows, prefixes, starts)
        return self._head(torch.cat([of_row[some] for of_row, some in zip(states, steps, strict=True)]))

    def answer_states(
        self, rows: Sequence[TokenIds], prefixes: Sequence[PrefixState], starts: Sequence[int]
    ) -> list[Tensor]:
        """Hidden states (T, H), by row, of the last token before the answer at `starts` and those in it."""
        found: dict[int, Tensor] = {}
        inputs = [row[:start] for row, start in zip(rows, starts, strict=True)]
        for reading in self.read_rows(inputs, prefixes):
            answers = [torch.tensor(list(rows[row][starts[row] :]), dtype=torch.long) for row in reading.rows]
            ids = pad_sequence(answers, batch_first=True).to(self.device)
            hidden = self._decode(torch.cat([reading.opening, self.embed_answer(ids)], dim=1), reading)
            found |= dict(zip(reading.rows, hidden[:, reading.opening.shape[1] - 1 :], strict=True))
        return [found[row] for row in range(len(rows))]

    def score(
        self, rows: Sequence[TokenIds], prefixes: Sequence[PrefixState], choices: Sequence[TokenIds]
    ) -> Tensor:
        """Log-probability (B, C) of each choice as the answer to each row.

        The encoder reads each row once, and every choice continues from the decoder's first tokens. A prompt
        with a head tells the choices apart by the decoder's state there, and runs none of them.
        """
        readings = self.read_rows(rows, prefixes)
        scores = torch.cat([self._score(reading, prefixes[0].head, choices) for reading in readings])
        return scores[_inverse(readings)]

    def _score(
        self, reading: Reading, head: ClassificationHead | None, choices: Sequence[TokenIds]
    ) -> Tensor:
        last = self._decode(reading.opening, reading)[:, -1]
        if head is not None:
            return head.log_probabilities(last)
        scores = self._head(last).log_softmax(dim=-1)[:, [choice[0] for choice in choices]]
        served = maximal_stems(choices)
        stems, num_rows = list(served), len(reading.rows)
        stems_per_run = max(1, _ROWS_PER_RUN // num_rows)
        for start in range(0, len(stems), stems_per_run):
            some = stems[start : start + stems_per_run]
            later = self._read_stems(reading, some)
            for offset, stem in enumerate(some):
                for index in served[stem]:
                    for step, token in enumerate(choices[index][1:]):
                        scores[:, index] += later[:, offset, step, token]
        return scores

    def _read_stems(self, reading: Reading, stems: Sequence[Stem]) -> Tensor:
        """Log-probabilities (B, C, t, V) of what follows each token of each of `stems` after every row."""
        ids = pad_rows(stems, device=self.device).ids.repeat(len(reading.rows), 1)
        hidden = self._decode(self.embed_answer(ids), reading.repeated(len(stems)))
        after = self._head(hidden).log_softmax(dim=-1)
        return after.view(len(reading.rows), len(stems), *after.shape[1:])

    def generate(
        self, rows: Sequence[TokenIds], prefixes: Sequence[PrefixState], choose: TokenChooser
    ) -> list[list[int]]:
        """New tokens of each row; the encoder reads each row once."""
        readings = self.read_rows(rows, prefixes)
        order = _inverse(readings)
        given = [reading.opening for reading in readings]
        while True:
            last = [self.next_logits(*step) for step in zip(readings, given, strict=True)]
            tokens = choose.step(torch.cat(last)[order])
            if choose.is_done:
                return choose.tokens
            ids = torch.tensor(tokens, device=self.device)[:, None]
            given = [self.embed_answer(ids[list(reading.rows)]) for reading in readings]

    def next_logits(self, reading: Reading, embeddings: Tensor) -> Tensor:
        """Next-token logits (B, V) after tokens (B, T, H) that follow what was run of `reading` before."""
        return self._head(self._decode(embeddings, reading)[:, -1])

    def read_rows(self, rows: Sequence[TokenIds], prefixes: Sequence[PrefixState]) -> list[Reading]:
        """Have the encoder read `rows`, those together whose prompts are as long in front of the decoder.

        Positions of a decoder are counted from the first token of a batch, so shorter prompts cannot be
        padded there.
        """
        if len(prefixes) not in (1, len(rows)):
            raise ValueError(f"{len(rows)} rows need 1 prefix or {len(rows)}, found {len(prefixes)}")
        if len(prefixes) == 1:
            return [self._read_together(range(len(rows)), rows, prefixes)]
        alike = defaultdict[tuple[int, int], list[int]](list)
        for index, prefix in enumerate(prefixes):
            alike[prefix.num_key_values, prefix.num_decoder_tokens].append(index)
        return [
            self._read_together(some, [rows[index] for index in some], [prefixes[index] for index in some])
            for some in alike.values()
        ]

    def _read_together(
        self, indices: Sequence[int], rows: Sequence[TokenIds], prefixes: Sequence[PrefixState]
    ) -> Reading:
        dtype, count = self._network.dtype, len(rows)
        states = [prefix.to(dtype) for prefix in prefixes]
        batch, ends = pad_rows(rows, device=self.device), [len(row) for row in rows]
        words = embed_ids(self._network, batch.ids, [state.virtual for state in states])
        words = add_offsets(words, [prefix.offsets for prefix in prefixes], ends)
        fronts = [self._front(state) for state in (states * count if len(states) == 1 else states)]
        pieces = [torch.cat([front, row[:end]]) for front, row, end in zip(fronts, words, ends, strict=True)]
        lengths = torch.tensor([len(piece) for piece in pieces], device=self.device)
        embeddings = pad_sequence(pieces, batch_first=True)
        mask = (torch.arange(embeddings.shape[1], device=self.device)[None] < lengths[:, None]).long()
        read = self._encoder(inputs_embeds=embeddings * self.encoder_scale, attention_mask=mask)
        opening = self.embed_answer(torch.tensor([self.opening_ids], device=self.device))
        openings = [
            opening[0] if state.decoder is None else torch.cat([state.decoder, opening[0]])
            for state in states
        ]
        cache = EncoderDecoderCache(new_cache(_joined(states, count)), DynamicCache())
        return Reading(
            indices, read.last_hidden_state, mask, cache, torch.stack(openings).expand(count, -1, -1)
        )

    def _front(self, prefix: PrefixState) -> Tensor:
        if prefix.embeddings is None:
            raise PromptError("the prefix was made by another model's path")
        return prefix.embeddings

    def _decode(self, embeddings: Tensor, reading: Reading) -> Tensor:
        """Hidden states (B, T, H) of tokens (B, T, H) that follow the cache; padding comes last."""
        output = self._decoder(
            inputs_embeds=embeddings,
            encoder_hidden_states=reading.states,
            encoder_attention_mask=reading.mask,
            past_key_values=reading.cache,
            use_cache=True,
        )
        return cast(Tensor, output.last_hidden_state)

    def embed_answer(self, ids: Tensor) -> Tensor:
        """Embeddings (B, T, H) of tokens (B, T) as the decoder is given them."""
        return cast(Tensor, self._table(ids))

    def _embed(self, segment: Segment) -> Tensor:
        if isinstance(segment, KeyValuePrefix | HeadedPrefix | EncoderDecoderPrompt):
            raise PromptError("what stands in front of the decoder must be the first segment")
        if isinstance(segment, InstancePrompt):
            raise PromptError(
                f"{self._network.config.model_type} reads rows with an encoder, where an instance prompt "
                "cannot be used; use prompt tuning"
            )
        if isinstance(segment, HeadedPrompt):
            raise PromptError(
                f"{self._network.config.model_type} reads rows with an encoder, where virtual tokens with a "
                "head cannot be used; leave out the head, or take a method that brings its own"
            )
        assert not isinstance(segment, PlacedPrompt)
        return embed_segment(self._network, segment)

    def _layers_of(self, prefix: KeyValuePrefix) -> tuple[KeyValues, ...]:
        return fitted_layers(prefix, self._layer_shapes, device=self.device, dtype=self._network.dtype)

    @cached_property
    def _layer_shapes(self) -> list[HeadShapes]:
        """What each layer of the decoder keeps of a token; looked at, since configs do not say it alike."""
        return [head_shapes(*pair) for pair in self.key_values(embed_segment(self._network, [0]))]


def _repeat(tensor: Tensor, count: int) -> Tensor:
    return tensor.repeat_interleave(count, dim=0)


def _joined(prefixes: Sequence[PrefixState], rows: int) -> list[KeyValues]:
    """Keys and values per layer, each (B, A, P, D): those of one prompt as a view, or of one for each row."""
    by_layer = zip(*([pair for pair in prefix.layers if pair] for prefix in prefixes), strict=True)
    joined = [
        (torch.cat([keys for keys, _ in pairs]), torch.cat([values for _, values in pairs]))
        for pairs in by_layer
    ]
    return [(keys.expand(rows, -1, -1, -1), values.expand(rows, -1, -1, -1)) for keys, values in joined]


def _inverse(readings: Sequence[Reading]) -> list[int]:
    """Where each row of a call stands among the rows of all `readings`."""
    order = [row for reading in readings for row in reading.rows]
    return sorted(range(len(order)), key=order.__getitem__)
