"""The shared-prefix path: a prompt is run once, as a batch of one, and every row continues from it.

In a causal model the virtual tokens in front attend only to themselves, so their keys and values are the same
for every row. They are computed once (once a step in training, with gradients on), expanded over the batch as
a view, and only the real tokens run on top. Loss and gradient equal those of the usual way, which runs the
prompt again for every row.
"""

import inspect
from collections.abc import Hashable, Iterator, Mapping, Sequence, Sized
from dataclasses import replace
from functools import cached_property
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import DynamicCache, PreTrainedModel

from tuningfork.errors import PromptError
from tuningfork.models.artefacts import (
    EncoderDecoderPrompt,
    HeadedPrefix,
    HeadedPrompt,
    InputPrompt,
    InstancePrompt,
    KeyValuePrefix,
    PlacedPrompt,
    UnadaptedPrompt,
    without_head,
)
from tuningfork.models.batch import pad_rows
from tuningfork.models.context import ContextCache, ReadWords, join_rows, split_rows
from tuningfork.models.embedding import check_placed, embed_ids, embed_row, embed_segment, embedding_weight
from tuningfork.models.fitting import HeadShapes, fitted_head, fitted_layers, head_shapes
from tuningfork.models.head import LogitsHead
from tuningfork.models.instance import add_shifts, answer_start, mean_states
from tuningfork.models.late import EmptySlots, EntryCache
from tuningfork.models.offsets import add_offsets, offsets_of
from tuningfork.models.opening import Opening, leading_words
from tuningfork.models.packing import additive_mask, pack_stems
from tuningfork.models.path import Segment, TokenChooser
from tuningfork.models.prefix import (
    KeyValues,
    PrefixState,
    cache_layers,
    expand_prefix,
    new_cache,
    split_prefix,
)
from tuningfork.models.stems import Stem, maximal_stems
from tuningfork.types import TokenIds

_MOST_LOGITS_PER_RUN = 2**27
"""Beyond this many logits, half a gigabyte, choices are not scored in one forward."""
_ROWS_PER_RUN = 64
"""How many continuations `score` runs at once; each holds a copy of its row's keys and values."""


class SharedPrefixPath:
    """Runs a network whose layers all keep plain keys and values."""

    def __init__(self, network: PreTrainedModel, head: LogitsHead) -> None:
        self._network = network
        self._decoder = network.base_model
        self.head = head
        """From hidden states to logits."""
        self.packs_choices = False
        """Whether the network takes a mask of ours, found out by `probe_support`."""
        self.leaves_out_slots = False
        """Whether a layer can be kept from seeing slots that others see, found out by `probe_late_entry`."""
        self._takes_positions = "position_ids" in inspect.signature(self._decoder.forward).parameters
        self.contexts = ContextCache(0)
        """Where words of rows are kept that training does not change."""

    @property
    def device(self) -> torch.device:
        """Where the network's input embeddings lie."""
        return embedding_weight(self._network).device

    def prefix(self, segments: Sequence[Segment]) -> PrefixState:
        """Read `segments` once; differentiable in the artefacts among them.

        Raises:
            PromptError: if a soft prompt other than an input prompt is not the first segment, or does not fit
                the model.
        """
        state, behind = self._begun(segments)
        pieces = [piece for segment in behind if (piece := self._embed(segment)).shape[0]]
        if not pieces:
            return state
        cache = new_cache(state.layers, state.empty)
        states = self._run(torch.cat(pieces)[None], cache)[0]
        return replace(
            state, num_tokens=state.num_tokens + len(states), layers=cache_layers(cache), states=states
        )

    def prefixes(self, prompts: Sequence[UnadaptedPrompt]) -> list[PrefixState]:
        """Read `prompts`, each by itself, in as few forwards as possible; differentiable in them.

        Raises:
            PromptError: if one of them does not fit the model.
        """
        begun = [self._begun([prompt]) for prompt in prompts]
        pieces = [[self._embed(segment) for segment in behind] for _, behind in begun]
        runs = [torch.cat(some) if some else embed_segment(self._network, ()) for some in pieces]
        read = {place for place, run in enumerate(runs) if len(run) and not begun[place][0].layers}
        if len(read) < 2:
            return [self.prefix([prompt]) for prompt in prompts]
        cache = new_cache()
        # Padding comes behind a prompt, where none of its tokens sees it.
        states = self._run(pad_sequence([runs[place] for place in read], batch_first=True), cache)
        layers = cache_layers(cache)
        rows = {place: row for row, place in enumerate(read)}
        return [
            split_prefix(begun[place][0], layers, states, rows[place], len(runs[place]))
            if place in read
            else self.prefix([prompts[place]])
            for place in range(len(prompts))
        ]

    def _begun(self, segments: Sequence[Segment]) -> tuple[PrefixState, Sequence[Segment]]:
        """What the first of `segments` brings along, and what is left to be run."""
        first, head = without_head(segments[0] if segments else ())
        rest, segments = segments[1:], [first, *segments[1:]]
        state = PrefixState(
            0,
            head=head and fitted_head(head, embedding_weight(self._network).shape[1], self.device),
            offsets=offsets_of(segments, self.device),
            context_key=self._context_key(segments),
        )
        match first:
            case KeyValuePrefix(layers=layers):
                count = first.num_virtual_tokens
                absent = frozenset(index for index, pair in enumerate(layers) if pair is None)
                empty = EmptySlots(absent, count) if absent else None
                return replace(state, num_tokens=count, layers=self._fitted(first), empty=empty), rest
            case InstancePrompt():
                instance = self._checked_instance(first)
                return replace(state, instance=instance), [InputPrompt(instance.front), *rest]
            case PlacedPrompt(embeddings=embeddings):
                check_placed(self._network, first)
                return replace(state, virtual=embeddings.to(self.device)), segments
        return state, segments

    def _context_key(self, segments: Sequence[Segment]) -> Hashable:
        """What rows' words are read behind, if neither a prompt in training nor the network changes it."""
        first, *rest = segments or [()]
        if rest or self._learns_weights(None):
            return None
        if isinstance(first, InstancePrompt) and not first.front.requires_grad:
            return first.front.detach().cpu().numpy().tobytes()
        if isinstance(first, PlacedPrompt) and min(first.prefix_ids, default=0) >= 0:
            return first.prefix_ids
        return None

    def _learns_weights(self, prefix: PrefixState | None) -> bool:
        """Whether what the network makes of words is learned, behind `prefix` or in general."""
        has_update = prefix is not None and prefix.update is not None
        return has_update or any(parameter.requires_grad for parameter in self._network.parameters())

    def prompt_logits(self, prefix: PrefixState, at: Sequence[int]) -> Tensor:
        """Next-token logits (N, V) after the tokens of the prompt named by `at`; nothing is run again."""
        states = embed_segment(self._network, ()) if prefix.states is None else prefix.states
        not_run = prefix.num_tokens - len(states)
        if min(at, default=not_run) < not_run:
            raise PromptError(f"the first {not_run} virtual tokens are keys and values, which have no logits")
        return self.head(states.to(self._network.dtype)[[place - not_run for place in at]])

    @torch.no_grad()
    def states_before(self, layer: int, embeddings: Tensor) -> Tensor:
        """Hidden states (P, H) that `layer` is given for tokens (P, H) in front."""
        output = self._call(embeddings[None], new_cache(), output_hidden_states=True)
        return cast(Tensor, output.hidden_states[layer][0])

    def enter(self, layer: int, states: Tensor) -> KeyValuePrefix:
        """Keys and values of `states` (P, H) that enter at `layer`, in it and above; differentiable."""
        cache = EntryCache(layer, states[None])
        # What the layers below are given does not matter, so nothing that is learned is.
        self._run(torch.zeros_like(states)[None], cache)
        pairs = [pair and (pair[0][0].float(), pair[1][0].float()) for pair in cache_layers(cache)]
        return KeyValuePrefix((*[None] * layer, *pairs[layer:]))

    def logits(
        self, rows: Sequence[TokenIds], prefixes: Sequence[PrefixState], at: Sequence[Sequence[int]]
    ) -> Tensor:
        """Next-token logits (N, V) after the tokens of each row named by `at`, in order; nothing else."""
        starts = [answer_start(*pair) for pair in zip(at, rows, strict=True)]
        return self.head(self.states(rows, prefixes, at, starts))

    def states(
        self,
        rows: Sequence[TokenIds],
        prefixes: Sequence[PrefixState],
        at: Sequence[Sequence[int]],
        answer_starts: Sequence[int] | None = None,
    ) -> Tensor:
        """Last hidden states (N, H) of the tokens of each row named by `at`, in order."""
        opening = self.open_rows(rows, prefixes, answer_starts)
        hidden = self.run_opening(opening)
        row_index = [row for row, positions in enumerate(at) for _ in positions]
        steps = [step for row, positions in enumerate(at) for step in opening.steps(row, positions)]
        if opening.states is not None:
            hidden = torch.cat([hidden, opening.states], dim=1)
        return hidden[row_index, steps]

    def score(
        self, rows: Sequence[TokenIds], prefixes: Sequence[PrefixState], choices: Sequence[TokenIds]
    ) -> Tensor:
        """Log-probability (B, C) of each choice as the continuation of each row.

        The rows are read once and every choice continues from their keys and values. A choice that begins
        another is read off it. A prompt with a head tells the choices apart by it, and runs none of them.
        """
        if (head := prefixes[0].head) is not None:
            return head.log_probabilities(self._last_states(self.open_rows(rows, prefixes)))
        stems = maximal_stems(choices)
        num_logits = len(rows) * (1 + sum(map(len, stems))) * embedding_weight(self._network).shape[0]
        if stems and self.packs_choices and num_logits <= _MOST_LOGITS_PER_RUN:
            return self._score_packed(self.open_rows(rows, prefixes), choices, stems)
        opening = self.open_rows(rows, prefixes)
        first = self.head(self._last_states(opening)).log_softmax(dim=-1)
        scores = first[:, [choice[0] for choice in choices]]
        if not stems:
            return scores
        layers, past = opening.aligned()
        for stem, after in self._read_stems(layers, opening.empty, past, list(stems)):
            later = self.head(after).log_softmax(dim=-1)
            for index in stems[stem]:
                for step, token in enumerate(choices[index][1:]):
                    scores[:, index] += later[:, step, token]
        return scores

    def _score_packed(
        self, opening: Opening, choices: Sequence[TokenIds], stems: Mapping[Stem, list[int]]
    ) -> Tensor:
        """`score` in one forward, all stems behind each row."""
        layout = pack_stems(opening.lengths, list(stems), num_past=opening.num_past, padding=opening.padding)
        num_rows, num_steps, _ = opening.embeddings.shape
        behind = embed_segment(self._network, [token for stem in stems for token in stem])
        output = self._decoder(
            inputs_embeds=torch.cat([opening.embeddings, behind[None].expand(num_rows, -1, -1)], dim=1),
            past_key_values=opening.cache,
            attention_mask=additive_mask(layout.is_visible, self._network.dtype),
            position_ids=layout.positions,
            use_cache=True,
        )
        hidden = cast(Tensor, output.last_hidden_state)
        first = self.head(hidden[torch.arange(num_rows), opening.lengths - 1]).log_softmax(dim=-1)
        later = self.head(hidden[:, num_steps:]).log_softmax(dim=-1)
        scores = first[:, [choice[0] for choice in choices]]
        for start, served in zip(layout.starts, stems.values(), strict=True):
            for index in served:
                for step, token in enumerate(choices[index][1:]):
                    scores[:, index] += later[:, start + step, token]
        return scores

    def generate(
        self, rows: Sequence[TokenIds], prefixes: Sequence[PrefixState], choose: TokenChooser
    ) -> list[list[int]]:
        """New tokens of each row; the prompt's keys and values are computed once, by `prefix`."""
        opening = self.open_rows(rows, prefixes)
        logits = self.head(self._last_states(opening))
        layers, total = opening.aligned()
        cache = new_cache(layers, opening.empty, total)
        while True:
            tokens = choose.step(logits)
            if choose.is_done:
                return choose.tokens
            logits = self.follow(tokens, cache, total)
            total = total + 1

    def follow(self, tokens: Sequence[int], cache: DynamicCache, past: Tensor) -> Tensor:
        """Next-token logits (B, V) after one more token of each row; its last `past` (B,) slots are real."""
        ids = torch.tensor(tokens, device=self.device)[:, None]
        return self.head(self._continue(embed_ids(self._network, ids), cache, past)[:, -1])

    def _fitted(self, prefix: KeyValuePrefix) -> tuple[KeyValues, ...]:
        return fitted_layers(
            prefix,
            self._layer_shapes,
            device=self.device,
            dtype=self._network.dtype,
            may_leave_out=self.leaves_out_slots,
        )

    @cached_property
    @torch.no_grad()
    def _layer_shapes(self) -> list[HeadShapes]:
        """What each layer keeps of a token; looked at, since configs do not say it in one way."""
        kept = self.prefix([[0]]).layers
        return [head_shapes(*pair) for pair in kept if pair is not None]

    def _checked_instance(self, prompt: InstancePrompt) -> InstancePrompt:
        if max(prompt.layers_read) > len(self._layer_shapes):
            raise PromptError(
                f"the prompt reads layer {max(prompt.layers_read)}, the model has {len(self._layer_shapes)}"
            )
        return prompt.mapped(lambda tensor: tensor.to(self.device))

    def _embed(self, segment: Segment) -> Tensor:
        if isinstance(segment, KeyValuePrefix | HeadedPrefix | HeadedPrompt):
            raise PromptError(
                "a prompt with a head must be the first segment"
                if isinstance(segment, HeadedPrompt)
                else "a key-value prefix must be the first segment: its keys carry the positions they were "
                "made for"
            )
        if isinstance(segment, InstancePrompt):
            raise PromptError("an instance prompt must be the first segment: rows follow its own front")
        if isinstance(segment, EncoderDecoderPrompt):
            raise PromptError(
                f"the prompt is for an encoder-decoder model, and {self._network.config.model_type} is none"
            )
        if isinstance(segment, PlacedPrompt):
            return embed_row(self._network, segment.prefix_ids, segment.embeddings)
        return embed_segment(self._network, segment)

    def open_rows(
        self,
        rows: Sequence[TokenIds],
        prefixes: Sequence[PrefixState],
        answer_starts: Sequence[int] | None = None,
    ) -> Opening:
        """Get rows ready to be run; an answer begins at `answer_starts` of each, by default behind it."""
        ends = [len(row) for row in rows] if answer_starts is None else answer_starts
        instance = next((prefix.instance for prefix in prefixes if prefix.instance is not None), None)
        if instance is not None:
            if len(prefixes) > 1:
                raise PromptError("rows with instance prompts of their own cannot be mixed in one batch")
            return self._open_shifted(rows, prefixes[0], instance, ends)
        if self.contexts.is_open and prefixes[0].context_key is not None:
            words = [leading_words(row) for row in rows]
            reads_alike = len({prefix.context_key for prefix in prefixes}) == 1
            if reads_alike and all(0 < len(read) < len(row) for read, row in zip(words, rows, strict=True)):
                return self._open_behind(rows, prefixes, self._read_words(words, prefixes[0]))
        batch = pad_rows(rows, device=self.device)
        cache, padding = self._cache_for(rows, prefixes)
        embeddings = embed_ids(self._network, batch.ids, [prefix.virtual for prefix in prefixes])
        embeddings = add_offsets(embeddings, [prefix.offsets for prefix in prefixes], ends)
        return Opening(embeddings, batch.lengths, cache, padding=padding, empty=prefixes[0].empty)

    def _open_shifted(
        self,
        rows: Sequence[TokenIds],
        prefix: PrefixState,
        instance: InstancePrompt,
        answer_starts: Sequence[int],
    ) -> Opening:
        """Read the words of each row, and shift what stands between them and its answer by what they say."""
        num_words = [max(1, start - instance.num_shifted_tokens) for start in answer_starts]
        words = [row[:count] for row, count in zip(rows, num_words, strict=True)]
        reads = self._read_words(words, prefix, instance.layers_read)
        shifts = instance.shifts(torch.stack([read.features for read in reads]))
        if any(start <= instance.num_shifted_tokens for start in answer_starts):
            # So short a row has its first word shifted, too: all are run whole.
            whole, ends = pad_rows(rows, device=self.device), torch.tensor(answer_starts, device=self.device)
            embeddings = add_shifts(embed_ids(self._network, whole.ids), shifts, ends)
            return Opening(embeddings, whole.lengths, self._cache_for(rows, [prefix])[0])
        opening = self._open_behind(rows, [prefix], reads)
        ends = torch.full_like(opening.lengths, instance.num_shifted_tokens)
        return replace(opening, embeddings=add_shifts(opening.embeddings, shifts, ends))

    def _open_behind(
        self, rows: Sequence[TokenIds], prefixes: Sequence[PrefixState], reads: Sequence[ReadWords]
    ) -> Opening:
        """Rows whose words were read behind prefixes that are alike, up to what follows these."""
        num_words = tuple(len(read.states) for read in reads)
        rest = pad_rows([row[count:] for row, count in zip(rows, num_words, strict=True)], device=self.device)
        past = torch.tensor(num_words, device=self.device) + prefixes[0].num_tokens
        return Opening(
            embed_ids(self._network, rest.ids, [prefix.virtual for prefix in prefixes]),
            rest.lengths,
            new_cache(join_rows(prefixes[0], reads)),
            padding=int(past.max()) - past,
            states=pad_sequence([read.states for read in reads], batch_first=True),
            num_read=num_words,
        )

    def _read_words(
        self, words: Sequence[TokenIds], prefix: PrefixState, layers_read: Sequence[int] = (0,)
    ) -> list[ReadWords]:
        """Read `words` behind `prefix`, as far as they were not kept; differentiable in weights alone."""
        keys = [(prefix.context_key, tuple(layers_read), tuple(row)) for row in words]
        kept = [None if prefix.context_key is None else self.contexts.get(key) for key in keys]
        missing = [index for index, read in enumerate(kept) if read is None]
        if missing:
            # What is kept must not depend on the rows beside it: a resumed run meets others.
            is_kept = self.contexts.is_open and prefix.context_key is not None
            for batch in [[index] for index in missing] if is_kept else [missing]:
                reads = self._read_batch([words[index] for index in batch], prefix, layers_read)
                for index, read in zip(batch, reads, strict=True):
                    kept[index] = read
                    self.contexts.put(keys[index], read)
        return [read for read in kept if read is not None]

    def _read_batch(
        self, words: Sequence[TokenIds], prefix: PrefixState, layers_read: Sequence[int]
    ) -> list[ReadWords]:
        batch, (cache, _) = pad_rows(words, device=self.device), self._cache_for(words, [prefix])
        with torch.set_grad_enabled(torch.is_grad_enabled() and self._learns_weights(prefix)):
            output = self._call(embed_ids(self._network, batch.ids), cache, output_hidden_states=True)
        features = mean_states(output.hidden_states, batch.lengths, layers_read)
        lengths = batch.lengths.tolist()
        return split_rows(cache_layers(cache), output.last_hidden_state, features, lengths, prefix.num_tokens)

    def run_opening(self, opening: Opening) -> Tensor:
        """Hidden states (B, T, H) of what is to be run; its cache then holds that, too."""
        if opening.padding is None:
            return self._run(opening.embeddings, opening.cache)
        return self._continue(opening.embeddings, opening.cache, opening.num_past - opening.padding)

    def _last_states(self, opening: Opening) -> Tensor:
        """Hidden states (B, H) of the last token of each row."""
        hidden = self.run_opening(opening)
        return hidden[torch.arange(hidden.shape[0]), opening.lengths - 1]

    @torch.no_grad()
    def features(self, rows: Sequence[TokenIds], prefix: PrefixState, layers: Sequence[int]) -> Tensor:
        """Mean hidden states (B, F) of the tokens of each row after each of `layers`, side by side."""
        batch = pad_rows(rows, device=self.device)
        (cache, _), ends = self._cache_for(rows, [prefix]), [len(row) for row in rows]
        embeddings = add_offsets(
            embed_ids(self._network, batch.ids, [prefix.virtual]), [prefix.offsets], ends
        )
        output = self._call(embeddings, cache, output_hidden_states=True)
        return mean_states(output.hidden_states, batch.lengths, layers)

    def _cache_for(self, rows: Sized, prefixes: Sequence[PrefixState]) -> tuple[DynamicCache, Tensor | None]:
        """What rows follow, and how many of its slots, in front, hold nothing."""
        if len({prefix.empty for prefix in prefixes}) > 1:
            raise PromptError("rows whose prompts enter at different layers cannot be mixed in one batch")
        layers, padding = expand_prefix(prefixes, len(rows), self._network.dtype)
        return new_cache(layers, prefixes[0].empty), padding

    def _run(self, embeddings: Tensor, cache: DynamicCache) -> Tensor:
        """Hidden states (B, T, H) of tokens that follow `cache` directly; padding, if any, is at the end."""
        return cast(Tensor, self._call(embeddings, cache).last_hidden_state)

    def _call(self, embeddings: Tensor, cache: DynamicCache, **arguments: Any) -> Any:
        past = cache.get_seq_length()
        if self._takes_positions:
            positions = torch.arange(past, past + embeddings.shape[1], device=embeddings.device)
            arguments["position_ids"] = positions[None].expand(embeddings.shape[0], -1)
        return self._decoder(inputs_embeds=embeddings, past_key_values=cache, use_cache=True, **arguments)

    def _continue(self, embeddings: Tensor, cache: DynamicCache, past: Tensor) -> Tensor:
        """Hidden states (B, t, H) of tokens (B, t, H) after a cache whose last `past` (B,) slots are real."""
        num_steps = embeddings.shape[1]
        slots = cache.get_seq_length() + num_steps
        padding = slots - num_steps - past
        mask = (torch.arange(slots, device=past.device)[None] >= padding[:, None]).long()
        arguments: dict[str, Any] = {}
        if self._takes_positions:
            arguments["position_ids"] = past[:, None] + torch.arange(num_steps, device=past.device)[None]
        output = self._decoder(
            inputs_embeds=embeddings,
            past_key_values=cache,
            attention_mask=mask,
            use_cache=True,
            **arguments,
        )
        return cast(Tensor, output.last_hidden_state)

    def _read_stems(
        self,
        layers: Sequence[KeyValues | None],
        empty: EmptySlots | None,
        past: Tensor,
        stems: Sequence[Stem],
    ) -> Iterator[tuple[Stem, Tensor]]:
        """Each stem with its hidden states (B, t, H) after every row."""
        rows = past.shape[0]
        stems_per_run = max(1, _ROWS_PER_RUN // rows)
        for start in range(0, len(stems), stems_per_run):
            some = stems[start : start + stems_per_run]
            count = len(some)
            repeated = [
                None if pair is None else (_repeat(pair[0], count), _repeat(pair[1], count))
                for pair in layers
            ]
            ids = pad_rows(some, device=self.device).ids.repeat(rows, 1)
            embeddings = embed_ids(self._network, ids)
            every_past = past.repeat_interleave(count)
            hidden = self._continue(embeddings, new_cache(repeated, empty, every_past), every_past)
            for index, stem in enumerate(some):
                yield stem, hidden[index::count, : len(stem)]


def _repeat(tensor: Tensor, count: int) -> Tensor:
    return tensor.repeat_interleave(count, dim=0)
