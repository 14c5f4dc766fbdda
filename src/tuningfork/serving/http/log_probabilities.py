"""What the model thought of tokens, in the two shapes in which OpenAI writes it."""

import codecs
import math
from collections.abc import Sequence
from typing import Any

from tuningfork.serving.requests import TokenLogProbability
from tuningfork.serving.token_texts import TokenTexts

_IMPOSSIBLE = -9999.0
"""Stands for minus infinity, which JSON cannot say."""


def completion_log_probabilities(
    found: Sequence[TokenLogProbability], texts: TokenTexts, *, start: int
) -> dict[str, Any]:
    """Lists with an entry for each token, whose texts begin at `start` in the choice's text."""
    # A character begins where the first of its bytes does.
    reader, offsets = codecs.getincrementaldecoder("utf-8")("replace"), []
    for entry in found:
        offsets.append(start)
        start += len(reader.decode(texts.said_by(entry.token)))
    return {
        "tokens": [texts.text_of(entry.token) for entry in found],
        "token_logprobs": [_number(entry.log_probability) for entry in found],
        "top_logprobs": [_top(entry, texts) for entry in found],
        "text_offset": offsets,
    }


def chat_log_probabilities(found: Sequence[TokenLogProbability], texts: TokenTexts) -> dict[str, Any]:
    """An object for each token."""
    return {
        "content": [
            {
                **_described(entry.token, entry.log_probability, texts),
                "top_logprobs": [_described(token, value, texts) for token, value in entry.top],
            }
            for entry in found
        ],
        "refusal": None,
    }


def _top(entry: TokenLogProbability, texts: TokenTexts) -> dict[str, float] | None:
    if entry.log_probability is None:
        return None
    # The token itself is always there, so that whoever compares it with the likeliest one finds it.
    pairs = [*entry.top, (entry.token, entry.log_probability)]
    top: dict[str, float] = {}
    for token, value in pairs:
        # Of two tokens with one text the likelier counts.
        text, number = texts.text_of(token), _finite(value)
        top[text] = max(number, top.get(text, number))
    return top


def _described(token: int, value: float | None, texts: TokenTexts) -> dict[str, Any]:
    return {
        "token": texts.text_of(token),
        "logprob": _IMPOSSIBLE if value is None else _finite(value),
        "bytes": list(texts.bytes_of(token)),
    }


def _number(value: float | None) -> float | None:
    return None if value is None else _finite(value)


def _finite(value: float) -> float:
    return value if math.isfinite(value) else _IMPOSSIBLE
