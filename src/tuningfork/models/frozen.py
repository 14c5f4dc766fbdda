"""The frozen model: what every prompt is tuned for, scored by and run on."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import cached_property
from typing import cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tuningfork.errors import ModelError, PromptError
from tuningfork.models import row_checks
from tuningfork.models.architecture import Architecture, architecture_of, named_length
from tuningfork.models.artefacts import AdaptedPrompt, InputPrompt, KeyValuePrefix, SoftPrompt
from tuningfork.models.context import ContextCache
from tuningfork.models.embedding import embed_segment, embedding_weight
from tuningfork.models.encoder import EncoderPath
from tuningfork.models.encoder_decoder import EncoderDecoderPath
from tuningfork.models.encoder_decoder_support import opening_ids, probe_encoder_decoder
from tuningfork.models.encoder_support import probe_encoder
from tuningfork.models.head import LogitsHead
from tuningfork.models.identity import BaseIdentity, identify
from tuningfork.models.instance import answer_start
from tuningfork.models.low_rank import applied, check_update
from tuningfork.models.mixing import mixed_batches
from tuningfork.models.path import ForwardPath, SamplingOptions, Segment, TokenChooser
from tuningfork.models.plain import PlainPath
from tuningfork.models.prefix import KeyValues, PrefixState
from tuningfork.models.quantization import keep_exact
from tuningfork.models.reading import RunningRows
from tuningfork.models.recomputation import recomputing
from tuningfork.models.row_checks import Prefixes
from tuningfork.models.running import running_rows
from tuningfork.models.shared import SharedPrefixPath
from tuningfork.models.support import probe_late_entry, probe_recomputation, probe_support
from tuningfork.types import TokenIds


class FrozenModel:
    """A language model whose weights never change: a causal one, an encoder-decoder, or an encoder.

    Knows nothing of methods, tasks or files. Rows are ragged lists of token ids; padding happens inside, and
    every result equals that of one unpadded row.
    """

    def __init__(
        self,
        network: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        name: str,
        stored_dtype: torch.dtype | None = None,
        quantization: str = "none",
        hash_stored: Callable[[], str | None] | None = None,
    ) -> None:
        """Freeze `network` and find out, by running it, which path it can take.

        Where its weights are quantised, `hash_stored` says what their hash was before.

        Raises:
            ModelError: if it is no such language model, or does not accept embeddings as input.
        """
        cast(nn.Module, network).eval().requires_grad_(False)
        keep_exact(network)
        self.network = network
        self.tokenizer = tokenizer
        self.name = name
        self.quantization = quantization
        self._stored_dtype = stored_dtype or network.dtype
        self._hash_stored = hash_stored
        self._held_and_stored: tuple[str, str] | None = None
        self._identity: BaseIdentity | None = None
        self._path: ForwardPath
        if self.architecture == "encoder":
            self._path = encoder = EncoderPath(network, tokenizer.mask_token_id)
            self.support = probe_encoder(network, encoder)
            return
        self._head = head = LogitsHead(network)
        if self.architecture == "encoder-decoder":
            self._path = two_sided = EncoderDecoderPath(network, head, opening_ids(network, tokenizer))
            self.support = probe_encoder_decoder(network, two_sided, head)
            return
        shared, plain = SharedPrefixPath(network, head), PlainPath(network)
        self.support = probe_support(network, shared, plain, head)
        self._path = shared if self.support.path == "shared" else plain

    @property
    def is_encoder_decoder(self) -> bool:
        """Whether an encoder reads the input and a decoder says the answer."""
        return isinstance(self._path, EncoderDecoderPath)

    @property
    def scales_words(self) -> bool:
        """Whether its encoder scales the embeddings of tokens that it looks up, but none that it is given."""
        return isinstance(self._path, EncoderDecoderPath) and self._path.encoder_scale != 1.0

    @property
    def device(self) -> torch.device:
        """Where the network's input embeddings lie."""
        return embedding_weight(self.network).device

    @property
    def dtype(self) -> torch.dtype:
        """The type the frozen weights are held and run in; prompts are always float32."""
        return self.network.dtype

    @property
    def architecture(self) -> Architecture:
        """The kind of network it is."""
        return architecture_of(self.network.config)

    @property
    def says_words(self) -> bool:
        """Whether it can say labels; an encoder without a masked-LM head cannot."""
        return not isinstance(self._path, EncoderPath) or self._path.says_words

    @property
    def hidden_size(self) -> int:
        """H, the width of the input embeddings."""
        return embedding_weight(self.network).shape[1]

    @property
    def state_size(self) -> int:
        """The width of the hidden states that a head of a prompt reads."""
        return self._path.state_size if isinstance(self._path, EncoderPath) else self.hidden_size

    @property
    def vocabulary_size(self) -> int:
        """V, the number of rows of the input embeddings."""
        return embedding_weight(self.network).shape[0]

    @property
    def maximum_length(self) -> int | None:
        """The longest sequence in tokens, prompt included; None if the model names no limit.

        Of an encoder-decoder model it holds for what the encoder reads and for what the decoder says, each.
        """
        named = named_length(self.network.config)
        if named is not None and isinstance(self._path, EncoderPath):
            return named - self._path.position_offset
        return named

    @property
    def num_parameters(self) -> int:
        """How many weights the frozen model has."""
        # transformers knows how many each byte of a quantised one holds.
        return self.network.num_parameters()

    def identity(self, *, fresh: bool = False) -> BaseIdentity:
        """Hashes of weights, tokenizer and chat template; with `fresh`, computed again from the weights.

        Quantised weights have the hash of those they were made of, as long as they are what they were.
        """
        if self._identity is None or fresh:
            found = identify(self.network, self.tokenizer, self._stored_dtype)
            if self._hash_stored is not None:
                if self._held_and_stored is None:
                    self._held_and_stored = found.weights, self._hash_stored() or found.weights
                held, stored = self._held_and_stored
                found = replace(found, weights=stored if found.weights == held else found.weights)
            self._identity = found
        return self._identity

    def embed(self, ids: TokenIds) -> Tensor:
        """Embeddings (T, H) of `ids` (T), exactly what the network accepts as `inputs_embeds`."""
        return embed_segment(self.network, ids)

    def prefix(self, segments: Sequence[Segment | AdaptedPrompt]) -> PrefixState:
        """Read token ids and soft prompts in order, once; differentiable in the soft prompts.

        Raises:
            PromptError: if a soft prompt does not fit this model, or a key-value prefix or an adapted prompt
                is not in front.
        """
        rest = [segment for segment in segments if not isinstance(segment, AdaptedPrompt)]
        if len(rest) < len(segments):
            first = segments[0]
            if not isinstance(first, AdaptedPrompt) or len(rest) < len(segments) - 1:
                raise PromptError("a prompt with an adapter must be the first segment, and the only such one")
            return self._adapted_prefix(first, rest)
        if any(isinstance(segment, KeyValuePrefix) and None in segment.layers for segment in rest):
            return self._late_path().prefix(rest)
        return self._path.prefix(rest)

    def _adapted_prefix(self, adapted: AdaptedPrompt, behind: Sequence[Segment]) -> PrefixState:
        update = adapted.update.mapped(lambda tensor: tensor.to(self.device))
        check_update(self.network, update)
        with applied(self.network, update):
            state = self.prefix([adapted.prompt, *behind])
        # What the network makes of words changes with the update.
        return replace(state, update=update, context_key=None)

    def _as_adapted(self, prefixes: Sequence[PrefixState]) -> AbstractContextManager[None]:
        """The network as the prompts behind `prefixes` have it.

        Raises:
            PromptError: if they have it differently.
        """
        first, *others = [prefix.update for prefix in prefixes]
        if any(update is not first for update in others):
            raise PromptError("rows whose prompts have different adapters cannot be mixed in one batch")
        return applied(self.network, first)

    def prefixes(self, prompts: Sequence[SoftPrompt]) -> list[PrefixState]:
        """Read soft prompts, each as `prefix` would by itself, side by side where the model can.

        Raises:
            PromptError: if one of them does not fit this model.
        """
        plain = [prompt for prompt in prompts if not isinstance(prompt, AdaptedPrompt)]
        is_late = any(isinstance(prompt, KeyValuePrefix) and None in prompt.layers for prompt in plain)
        if isinstance(self._path, SharedPrefixPath) and len(plain) == len(prompts) and not is_late:
            return self._path.prefixes(plain)
        return [self.prefix([prompt]) for prompt in prompts]

    def states_before(self, layer: int, tokens: Tensor) -> Tensor:
        """Hidden states (P, H) in float32 that `layer` is given for virtual tokens (P, H); without gradients.

        Raises:
            PromptError: if virtual tokens cannot enter above the first layer of this model.
        """
        tokens = tokens.to(self.device, self.dtype)
        return self._late_path().states_before(layer, tokens).float()

    def enter(self, layer: int, states: Tensor) -> KeyValuePrefix:
        """A prefix in float32 of virtual tokens whose hidden states (P, H) enter at `layer`; differentiable.

        They are at positions 0 to P - 1. Layers below keep nothing of them and do not see them.

        Raises:
            PromptError: if virtual tokens cannot enter above the first layer of this model.
        """
        return self._late_path().enter(layer, states.to(self.device, self.dtype))

    @torch.no_grad()
    def key_values(self, tokens: Tensor) -> list[KeyValues]:
        """Keys and values (A, P, D) of each layer that keeps them for virtual tokens (P, H) in front.

        In float32, without gradients. Those of an encoder-decoder model are what its decoder computes for the
        tokens, in its own front, where its encoder has read the same tokens.

        Raises:
            PromptError: if the model does not keep plain keys and values in every layer.
        """
        if not self.support.takes_key_values:
            raise PromptError(
                f"prefix tuning is not possible with {self.name}: {self.support.reason}; use prompt tuning"
            )
        if isinstance(self._path, EncoderPath | EncoderDecoderPath):
            layers: Sequence[KeyValues | None] = self._path.key_values(tokens)
        else:
            layers = self.prefix([InputPrompt(tokens)]).layers
        # Those of an encoder have no dimension of rows.
        parts = [[part.reshape(part.shape[-3:]).float().clone() for part in pair] for pair in layers if pair]
        return [(keys, values) for keys, values in parts]

    def features(self, rows: Sequence[TokenIds], prefix: PrefixState, layers: Sequence[int]) -> Tensor:
        """Mean hidden states (B, F) of the tokens of each row behind `prefix` after each of `layers`.

        Layer 0 is the embeddings; F is the number of layers times H. One batch, float32, without gradients.

        Raises:
            PromptError: if the model does not share prefixes.
        """
        if not isinstance(self._path, SharedPrefixPath):
            raise PromptError(f"features of rows are not read by {self.name}: {self.support.reason}")
        checked = self._checked(rows, prefix, extra=0)
        with self._as_adapted(checked):
            return self._path.features(rows, checked[0], layers)

    def prompt_logits(self, prefix: PrefixState, at: Sequence[int]) -> Tensor:
        """Next-token logits (N, V) in float32 after the tokens of the prompt itself named by `at`.

        Differentiable in `prefix`, also where that is detached.

        Raises:
            PromptError: if a named token is one of a key-value prefix.
            ValueError: if `at` names a position that the prompt does not have.
        """
        if any(not 0 <= position < prefix.num_tokens for position in at):
            raise ValueError(f"a prompt of {prefix.num_tokens} tokens has no position {list(at)}")
        with self._as_adapted([prefix]):
            return self._path.prompt_logits(prefix, at)

    def logits(self, rows: Sequence[TokenIds], prefix: Prefixes, at: Sequence[Sequence[int]]) -> Tensor:
        """Next-token logits (N, V) in float32 after the tokens of each row named by `at`; nothing else.

        `prefix` is one state for all rows or one for each row. A prompt that changes tokens of the row leaves
        the last run of `at`, the answer, as it is.

        Raises:
            ContextLengthError: if prompt and row exceed the model's maximum.
            PromptError: if the prompt has a head, which says no words.
            ValueError: if `at` names a position that its row does not have.
        """
        row_checks.check_positions(rows, at)
        starts = [answer_start(*pair) for pair in zip(at, rows, strict=True)]
        row_checks.check_says_words(row_checks.list_of(prefix))
        prefixes = self._checked(rows, prefix, extra=0, answer_starts=starts)
        with self._as_adapted(prefixes):
            return self._path.logits(rows, prefixes, at)

    def choice_log_probabilities(
        self,
        rows: Sequence[TokenIds],
        prefix: Prefixes,
        choices: Sequence[TokenIds],
        *,
        normalizes_length: bool = False,
    ) -> Tensor:
        """Log-probability (B, C) of each choice as the continuation of each row; differentiable, one batch.

        `prefix` is one state for all rows or one for each row. With `normalizes_length` it is the mean over
        the tokens of the choice. Where the prompt has a head, which reads the choices' order and none of
        their tokens, there is no length to normalise.

        Raises:
            ContextLengthError: if prompt, row and choice exceed the model's maximum.
            PromptError: if the prompt has a head for another number of choices.
            ValueError: if there is no choice, or one has no tokens.
        """
        prefixes = self._checked_choices(rows, prefix, choices)
        if len(prefixes) > 1 and any(state.head is not None for state in prefixes):
            raise PromptError("rows with heads of their own cannot be mixed in one batch")
        with self._as_adapted(prefixes):
            scores = self._path.score(rows, prefixes, choices)
        if not normalizes_length or prefixes[0].head is not None:
            return scores
        return scores / torch.tensor([len(choice) for choice in choices], device=scores.device)

    @torch.no_grad()
    def score(
        self,
        rows: Sequence[TokenIds],
        prefix: Prefixes,
        choices: Sequence[TokenIds],
        *,
        normalizes_length: bool = False,
        batch_size: int = 16,
    ) -> Tensor:
        """`choice_log_probabilities` of any number of rows, in batches, without gradients, on the CPU.

        Raises:
            ContextLengthError: if prompt, row and choice exceed the model's maximum.
            PromptError: if the prompt has a head for another number of choices.
            ValueError: if there is no choice, or one has no tokens.
        """
        # No row is run before all are known to fit.
        prefixes = self._checked_choices(rows, prefix, choices)
        scores = torch.empty(len(rows), len(choices))
        for indices, states in mixed_batches([len(row) for row in rows], prefixes, batch_size):
            some = [rows[i] for i in indices]
            scores[indices] = self.choice_log_probabilities(
                some, states, choices, normalizes_length=normalizes_length
            ).cpu()
        return scores

    def word_log_probabilities(
        self, rows: Sequence[TokenIds], prefix: Prefixes, at: Sequence[Sequence[int]]
    ) -> Tensor:
        """Log-probability (N, C) of each tag at the tokens of each row named by `at`, in order of both.

        The head of the prompt reads their last hidden states. Differentiable, one batch; `prefix` is one
        state for all rows or one for each row.

        Raises:
            ContextLengthError: if prompt and row exceed the model's maximum.
            PromptError: if a prompt has no head, or the model's states cannot be read.
            ValueError: if `at` names a position that its row does not have.
        """
        row_checks.check_positions(rows, at)
        prefixes = self._checked(rows, prefix, extra=0)
        heads = [state.head for state in prefixes if state.head is not None]
        if len(heads) < len(prefixes):
            raise PromptError("words are tagged by the head of a prompt, and this one has none; use --head")
        if not isinstance(self._path, EncoderPath | SharedPrefixPath):
            raise PromptError(f"words are not tagged by {self.name}: {self.support.reason}")
        states = self._path.states(rows, prefixes, at)
        if len(heads) == 1:
            return heads[0].log_probabilities(states)
        by_row = torch.split(states, [len(places) for places in at])
        return torch.cat([head.log_probabilities(row) for head, row in zip(heads, by_row, strict=True)])

    @torch.no_grad()
    def generate(
        self,
        rows: Sequence[TokenIds],
        prefix: Prefixes,
        sampling: SamplingOptions,
        *,
        batch_size: int = 16,
    ) -> list[list[int]]:
        """New tokens of each row, without the token that ended it.

        Raises:
            ContextLengthError: if prompt, row and answer could exceed the model's maximum.
            PromptError: if the prompt has a head, which says no words.
        """
        row_checks.check_says_words(row_checks.list_of(prefix))
        prefixes = self._checked(rows, prefix, extra=sampling.max_new_tokens - 1)
        answers: list[list[int]] = [[] for _ in rows]
        for indices, states in mixed_batches([len(row) for row in rows], prefixes, batch_size):
            choose = TokenChooser(sampling, [sampling.seed + i for i in indices])
            with self._as_adapted(states):
                made = self._path.generate([rows[i] for i in indices], states, choose)
            for index, tokens in zip(indices, made, strict=True):
                answers[index] = tokens
        return answers

    def running_rows(self) -> RunningRows:
        """Rows that are continued token by token, and join and leave meanwhile; none yet.

        Raises:
            PromptError: if the model is an encoder, which continues nothing.
        """
        return running_rows(self._path, self.network)

    @contextmanager
    def keeping_contexts(self, budget_bytes: int) -> Iterator[ContextCache]:
        """Within this, keep what training does not change of the words of rows: they are read once.

        That is so where a prompt acts only behind the words of a row; elsewhere nothing is kept.
        """
        contexts, path = ContextCache(budget_bytes), self._path
        if not isinstance(path, SharedPrefixPath):
            yield contexts
            return
        path.contexts, before = contexts, path.contexts
        try:
            yield contexts
        finally:
            path.contexts = before

    @contextmanager
    def recomputing_layers(self) -> Iterator[None]:
        """Within this, a gradient takes more time and less memory: layers keep only what enters them.

        That is gradient checkpointing: what else the gradient needs is made again in the backward pass.
        Results are the same, also of a backward pass that comes later.

        Raises:
            ModelError: if running the layers of this model again does not give the same gradient.
        """
        if isinstance(layers := self._recomputable_layers, str):
            raise ModelError(
                f"gradient checkpointing is not possible with {self.name}: {layers}; train without it, "
                "in smaller micro-batches if memory is short"
            )
        with recomputing(layers):
            yield

    @cached_property
    def _recomputable_layers(self) -> nn.ModuleList | str:
        """The layers that may be run again or, in words, why they may not; found out when first asked."""
        if self.architecture != "decoder":
            return f"it is an {self.architecture}, whose layers are not run again yet"
        return probe_recomputation(self.network, self._path)

    def _late_path(self) -> SharedPrefixPath:
        if self._late_refusal is None and isinstance(self._path, SharedPrefixPath):
            return self._path
        raise PromptError(
            f"virtual tokens cannot enter above the first layer of {self.name}: {self._late_refusal}; "
            "use prompt tuning"
        )

    @cached_property
    def _late_refusal(self) -> str | None:
        """Why virtual tokens cannot enter above the first layer, found out when some first do."""
        if not isinstance(self._path, SharedPrefixPath):
            return self.support.reason
        return probe_late_entry(self.network, self._path, self._head)

    def _checked_choices(
        self, rows: Sequence[TokenIds], prefix: Prefixes, choices: Sequence[TokenIds]
    ) -> Sequence[PrefixState]:
        runs_choices = row_checks.check_choices(row_checks.list_of(prefix), choices)
        return self._checked(rows, prefix, extra=max(map(len, choices)) - 1 if runs_choices else 0)

    def _checked(
        self,
        rows: Sequence[TokenIds],
        prefix: Prefixes,
        *,
        extra: int,
        answer_starts: Sequence[int] | None = None,
    ) -> Sequence[PrefixState]:
        prefixes = row_checks.list_of(prefix)
        longest, what = row_checks.check_rows(rows, prefixes) + extra, "prompt + input + answer"
        if isinstance(self._path, EncoderDecoderPath):
            lengths = [len(row) for row in rows]
            longest = self._path.longest_side(lengths, prefixes, answer_starts or lengths, extra)
            what = "the longer of prompt + input and answer"
        row_checks.check_length(longest, what, self.maximum_length)
        return prefixes
