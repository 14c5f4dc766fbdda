from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tiny_folder import build_byte_tokenizer
from tuningfork.serving.answer import Answer
from tuningfork.serving.requests import (
    Delta,
    FinishReason,
    GenerationRequest,
    LoadedPrompt,
    SamplingSettings,
    TokenLogProbability,
)
from tuningfork.serving.sampling import Choice
from tuningfork.serving.text_stream import Detokenizer

TOKENIZER = build_byte_tokenizer()
DETOKENIZER = Detokenizer(TOKENIZER)
END, TURN_END = 2, 7


def answer(max_tokens: int = 100, **more: Any) -> Answer:
    prompt = LoadedPrompt("p", "p", end_ids=frozenset({TURN_END}))
    request = GenerationRequest("r", prompt, (5,), SamplingSettings(max_tokens, **more))
    return Answer(request, DETOKENIZER, frozenset({END}))


def tokens_of(text: str) -> list[int]:
    return list(TOKENIZER.encode(text, add_special_tokens=False))


def said(one: Answer, tokens: Sequence[int | None], reason: FinishReason = "cancelled") -> list[Delta]:
    """What the reader is given for `tokens`, which are followed by `reason` if they do not end the answer."""
    pieces: list[Delta] = []
    for token in tokens:
        pieces.append(one.take(Choice(token)))
        if pieces[-1].finish_reason is not None:
            return pieces
    return [*pieces, one.end(reason)]


def text_of(pieces: Sequence[Delta]) -> str:
    return "".join(piece.text for piece in pieces)


def made(pieces: Sequence[Delta]) -> list[int]:
    return [token for piece in pieces for token in piece.tokens]


@pytest.mark.parametrize("end", [END, TURN_END, None])
def test_an_end_is_no_part_of_the_answer(end: int | None) -> None:
    pieces = said(answer(), [*tokens_of("né"), end])
    assert text_of(pieces) == "né"
    assert made(pieces) == tokens_of("né")
    assert pieces[-1].finish_reason == "stop"


def test_the_last_token_that_fits_is_the_last() -> None:
    one = answer(3)
    pieces = said(one, tokens_of("abcdef"))
    assert (text_of(pieces), pieces[-1].finish_reason, len(pieces)) == ("abc", "length", 3)
    assert one.is_full


def test_half_a_character_comes_at_the_end() -> None:
    assert text_of(said(answer(1), tokens_of("é"))) == "\N{REPLACEMENT CHARACTER}"


@settings(deadline=None)
@given(st.text("abEND", max_size=20), st.integers(0, 20), st.sampled_from([(), ("END",), ("EN", "D")]))
def test_the_answer_is_the_text_up_to_a_stop_text(text: str, least: int, stops: tuple[str, ...]) -> None:
    one = answer(stop=stops, min_tokens=least)
    pieces = said(one, tokens_of(text), "deadline")
    # Every character is one token here; what came before `least` of them is not looked at.
    start = max(0, least - 1)
    found = [(at + len(stop), at) for stop in stops if (at := text.find(stop, start)) >= 0]
    assert text_of(pieces) == (text[: min(found)[1]] if found else text)
    assert pieces[-1].finish_reason == ("stop" if found else "deadline")
    assert one.num_tokens == len(made(pieces)) == (min(found)[0] if found else len(text))


def test_what_was_held_back_comes_when_the_answer_ends() -> None:
    for reason in ("cancelled", "deadline"):
        assert text_of(said(answer(stop=("END",)), tokens_of("the EN"), reason)) == "the EN"
    assert text_of(said(answer(6, stop=("END",)), tokens_of("the EN"))) == "the EN"


def test_the_first_piece_says_what_was_known_before() -> None:
    one, scores = answer(), [TokenLogProbability(5, None)]
    one.begin(7, scores)
    first, second, *_ = said(one, tokens_of("ab"))
    assert (first.num_cached_tokens, first.prompt_log_probabilities) == (7, tuple(scores))
    assert (second.num_cached_tokens, second.prompt_log_probabilities) == (0, ())


def test_log_probabilities_come_with_their_tokens() -> None:
    one, known = answer(), TokenLogProbability(8, -0.5)
    assert one.take(Choice(8, known)).log_probabilities == (known,)
    assert one.take(Choice(END, known)).log_probabilities == ()


def test_the_row_and_the_text_in_front_count_as_said() -> None:
    settings = SamplingSettings(5, repetition_penalty=2.0)
    request = GenerationRequest("r", LoadedPrompt("p", "p", text_ids=(3,)), (5, -1), settings)
    one = Answer(request, DETOKENIZER, frozenset())
    changed = one.sampler.changed(torch.ones(10))
    assert [place for place in range(10) if changed[place] != 1] == [3, 5]
