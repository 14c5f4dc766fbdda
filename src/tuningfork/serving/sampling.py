"""Which token comes next: the model's logits, and what a request asks to be made of them.

The order is that of other servers: `logit_bias`, what may not come (by a grammar, or an end that is too
early), penalties; then, unless the likeliest token is taken, temperature, `min_p`, `top_k` and `top_p`.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tuningfork.errors import ServingError
from tuningfork.serving.requests import Grammar, SamplingSettings, TokenLogProbability

_GREEDY_BELOW = 1e-5
"""Logits divided by less would overflow, and the likeliest token is all that is left."""
_RANKED_FIRST = 1024
"""How many tokens are ranked for `top_p`, before the whole vocabulary is."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The next token of one answer."""

    token: int | None
    """None if nothing may come next."""
    log_probability: TokenLogProbability | None = None


def check_settings(settings: SamplingSettings, vocabulary_size: int) -> None:
    """Check what a request asks for.

    Raises:
        ServingError: if a value is out of its range, naming it.
    """
    ranges: dict[str, tuple[float, float, float]] = {
        "max_tokens": (settings.max_tokens, 0, math.inf),
        "temperature": (settings.temperature, 0, math.inf),
        "top_p": (settings.top_p, 0, 1),
        "top_k": (settings.top_k, 0, math.inf),
        "min_p": (settings.min_p, 0, 1),
        "min_tokens": (settings.min_tokens, 0, settings.max_tokens),
        "num_top": (settings.num_top or 0, 0, vocabulary_size),
        "presence_penalty": (settings.presence_penalty, -math.inf, math.inf),
        "frequency_penalty": (settings.frequency_penalty, -math.inf, math.inf),
        "repetition_penalty": (settings.repetition_penalty, 0, math.inf),
    }
    for name, (value, least, most) in ranges.items():
        is_open = name in ("top_p", "repetition_penalty")
        if not (least < value if is_open else least <= value) or not value <= most or math.isinf(value):
            above = f"above {least:g}" if is_open else f"at least {least:g}"
            wanted = "a number" if math.isinf(least) else above
            wanted += "" if math.isinf(most) else f" and at most {most:g}"
            raise ServingError(f"{name} must be {wanted}, found {value:g}")
    for token in (*settings.logit_bias, *settings.stop_token_ids):
        if not 0 <= token < vocabulary_size:
            raise ServingError(f"token {token} is not in the model's vocabulary of {vocabulary_size}")
    for bias in settings.logit_bias.values():
        if not math.isfinite(bias):
            raise ServingError(f"logit_bias must map tokens to finite numbers, found {bias:g}")
    if "" in settings.stop:
        raise ServingError("a stop text must not be empty")


class RowSampler:
    """Chooses the tokens of one answer."""

    def __init__(
        self,
        settings: SamplingSettings,
        *,
        given: Iterable[int],
        end_ids: frozenset[int],
        grammar: Grammar | None = None,
    ) -> None:
        """Begin to answer the tokens `given`; one of `end_ids` ends it, unless the settings ignore these."""
        self.settings = settings
        self.is_greedy = settings.temperature < _GREEDY_BELOW
        self.num_made = 0
        self._grammar = grammar
        self._end_ids = settings.stop_token_ids | (frozenset() if settings.ignores_end else end_ids)
        self._punishes = bool(settings.presence_penalty or settings.frequency_penalty)
        self._repeats = settings.repetition_penalty != 1
        self._made: Counter[int] = Counter()
        self._seen = {token for token in given if token >= 0} if self._repeats else set[int]()
        self._generator = torch.Generator()
        if settings.seed is None:
            self._generator.seed()
        else:
            # Any whole number is a seed; a generator takes 64 bits.
            self._generator.manual_seed(settings.seed % 2**63)

    @property
    def changes_logits(self) -> bool:
        """Whether anything is made of the logits before the likeliest is looked for."""
        is_early = self.num_made < self.settings.min_tokens and bool(self._end_ids)
        has_rule = self._grammar is not None or bool(self.settings.logit_bias)
        return has_rule or is_early or self._repeats or (self._punishes and bool(self._made))

    def ends(self, token: int) -> bool:
        """Whether `token` ends the answer."""
        return token in self._end_ids

    def accept(self, token: int) -> None:
        """Go on behind `token`; a grammar may raise what it likes."""
        self.num_made += 1
        if self._punishes:
            self._made[token] += 1
        if self._repeats:
            self._seen.add(token)
        if self._grammar is not None:
            self._grammar.accept(token)

    def changed(self, logits: Tensor) -> Tensor:
        """What the request makes of logits (V), as a copy in float32 on the CPU.

        What may not come is -inf. A grammar may raise what it likes.
        """
        row = logits.detach().to("cpu", torch.float32, copy=True)
        settings = self.settings
        if settings.logit_bias:
            row[list(settings.logit_bias)] += torch.tensor(list(settings.logit_bias.values()))
        if self._grammar is not None:
            allowed = self._grammar.allowed()
            row[: len(allowed)].masked_fill_(~allowed[: len(row)], -math.inf)
            row[len(allowed) :] = -math.inf
        if self.num_made < settings.min_tokens and self._end_ids:
            later = row.clone()
            later[list(self._end_ids)] = -math.inf
            # Where a grammar allows nothing but the end, it comes.
            row = later if later.max() > -math.inf else row
        if self._seen:
            seen = torch.tensor(sorted(self._seen))
            values, penalty = row[seen], settings.repetition_penalty
            row[seen] = torch.where(values > 0, values / penalty, values * penalty)
        if self._made:
            counts = torch.tensor(list(self._made.values()))
            row[list(self._made)] -= settings.frequency_penalty * counts + settings.presence_penalty
        return row

    def draw(self, row: Tensor) -> int:
        """Draw a token for logits (V), which are changed."""
        row = narrowed(row / self.settings.temperature, self.settings)
        # The largest sum of a logit and its noise is a draw from the softmax. Noise for every token, whatever
        # may come, keeps one seed to one answer; and unlike with a running sum of probabilities, rounding
        # that differs from batch to batch matters only where the two largest sums are nearly equal.
        noise = torch.empty_like(row).exponential_(generator=self._generator)
        return int((row - noise.log()).argmax())


def narrowed(row: Tensor, settings: SamplingSettings) -> Tensor:
    """`row` of logits (V), -inf where `min_p`, `top_k` and `top_p` leave a token out; it is changed."""
    if settings.min_p > 0:
        row[row < row.max() + math.log(settings.min_p)] = -math.inf
    if 0 < settings.top_k < len(row):
        row[row < row.topk(settings.top_k).values[-1]] = -math.inf
    if settings.top_p < 1:
        _leave_out_tail(row, settings.top_p)
    return row


def _leave_out_tail(row: Tensor, top_p: float) -> None:
    """Keep the likeliest tokens of `row` (V): those before which less than `top_p` lies."""
    total = row.double().logsumexp(dim=-1)
    for count in (_RANKED_FIRST, len(row)):
        ranked, order = row.topk(min(count, len(row)))
        probabilities = (ranked.double() - total).exp()
        is_kept = probabilities.cumsum(dim=-1) - probabilities < top_p
        if not is_kept[-1] or len(ranked) == len(row):
            break
    kept = order[is_kept]
    values = row[kept]
    row[:] = -math.inf
    row[kept] = values


def choose(samplers: Sequence[RowSampler], logits: Tensor) -> list[Choice | Exception]:
    """The next token of each answer for logits (B, V); what was raised for one of them is its own outcome."""
    likeliest = logits.argmax(dim=-1).tolist()
    choices: list[Choice | Exception] = []
    for sampler, row, token in zip(samplers, logits, likeliest, strict=True):
        # Grammars and settings are the caller's; whatever is wrong with them must not stop other answers.
        try:
            chosen = _chosen(sampler, row, token)
        except Exception as error:
            choices.append(error)
            continue
        num_top = sampler.settings.num_top
        known = None if num_top is None or chosen is None else _known(row, chosen, num_top)
        choices.append(Choice(chosen, known))
    return choices


def _chosen(sampler: RowSampler, logits: Tensor, likeliest: int) -> int | None:
    if sampler.is_greedy and not sampler.changes_logits:
        return likeliest
    row = sampler.changed(logits)
    if row.max() == -math.inf:
        return None
    return int(row.argmax()) if sampler.is_greedy else sampler.draw(row)


def _known(logits: Tensor, token: int, num_top: int) -> TokenLogProbability:
    return row_log_probabilities(logits[None], [token], num_top)[0]


def row_log_probabilities(logits: Tensor, tokens: Sequence[int], num_top: int) -> list[TokenLogProbability]:
    """What the model thought of each of `tokens` by its logits (N, V), and of the `num_top` likeliest."""
    scores = logits.float().log_softmax(dim=-1)
    ids = torch.tensor(list(tokens), device=scores.device)[:, None]
    own = scores.gather(1, ids.clamp(min=0))[:, 0].tolist()
    values, order = scores.topk(num_top, dim=-1)
    return [
        TokenLogProbability(token, None if token < 0 else value, tuple(zip(best, numbers, strict=True)))
        for token, value, best, numbers in zip(tokens, own, order.tolist(), values.tolist(), strict=True)
    ]
