"""Text that comes piece by piece, against the text of all tokens at once."""

from collections.abc import Callable, Sequence
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE, WordPiece
from transformers import PreTrainedTokenizerFast

from tests.tiny_folder import build_byte_tokenizer
from tuningfork.serving.text_stream import Detokenizer, StopTexts, TokenText

UNREADABLE = "\N{REPLACEMENT CHARACTER}"
Build = Callable[[], PreTrainedTokenizerFast]
SPECIAL = ("<unk>", "<s>", "</s>", "<pad>")


def wrapped(backend: Tokenizer) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=backend, unk_token="<unk>", bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    )


@cache
def byte_level() -> PreTrainedTokenizerFast:
    return build_byte_tokenizer()


@cache
def byte_fallback() -> PreTrainedTokenizerFast:
    """As sentencepiece makes them: a mark for a space, and a token for each byte of rare characters."""
    pieces = ("\u2581", "\u2581the", "a", "b", "é", "ing", "\u2581\u2581", UNREADABLE, ".", "<", ">")
    vocabulary = {
        token: index for index, token in enumerate((*SPECIAL, *(f"<0x{b:02X}>" for b in range(256)), *pieces))
    }
    backend = Tokenizer(BPE(vocabulary, [], unk_token="<unk>", byte_fallback=True))
    backend.decoder = decoders.Sequence(
        [
            decoders.Replace("\u2581", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(content=" ", left=1),
        ]
    )
    backend.add_special_tokens(list(SPECIAL))
    return wrapped(backend)


@cache
def metaspace() -> PreTrainedTokenizerFast:
    vocabulary = {
        t: i for i, t in enumerate((*SPECIAL, "\u2581", "\u2581the", "a", "\u2581b", "c\u2581", "é"))
    }
    backend = Tokenizer(BPE(vocabulary, [], unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.decoder = decoders.Metaspace()
    backend.add_special_tokens(list(SPECIAL))
    return wrapped(backend)


@cache
def word_pieces() -> PreTrainedTokenizerFast:
    vocabulary = {t: i for i, t in enumerate((*SPECIAL, "the", "a", "##ing", "##s", ".", "'", "n't"))}
    backend = Tokenizer(WordPiece(vocabulary, unk_token="<unk>"))
    backend.decoder = decoders.WordPiece(cleanup=False)
    backend.add_special_tokens(list(SPECIAL))
    return wrapped(backend)


TOKENIZERS = (byte_level, byte_fallback, metaspace, word_pieces)


def text_of(tokenizer: PreTrainedTokenizerFast, tokens: Sequence[int]) -> str:
    text = tokenizer.decode(list(tokens), skip_special_tokens=True, clean_up_tokenization_spaces=False)
    assert isinstance(text, str)
    return text


def pieces_of(tokenizer: PreTrainedTokenizerFast, tokens: Sequence[int]) -> list[str]:
    text = TokenText(Detokenizer(tokenizer))
    return [*(text.push(token) for token in tokens), text.finish()]


@given(st.data())
@pytest.mark.parametrize("build", TOKENIZERS)
def test_the_pieces_of_any_tokens_are_their_text(build: Build, data: st.DataObject) -> None:
    tokenizer = build()
    tokens = data.draw(st.lists(st.integers(0, len(tokenizer) - 1), max_size=60))
    assert "".join(pieces_of(tokenizer, tokens)) == text_of(tokenizer, tokens)


@pytest.mark.parametrize("build", TOKENIZERS)
def test_control_tokens_are_as_if_they_were_not_there(build: Build) -> None:
    tokenizer = build()
    for first in range(len(SPECIAL), len(tokenizer), 7):
        # Bytes on both sides of a control token are read together.
        tokens = [first, 0, 132 % len(tokenizer), 1, *[0] * 20, first]
        assert "".join(pieces_of(tokenizer, tokens)) == text_of(tokenizer, tokens)


def bytes_as_tokens(text: str, build: Build) -> list[int]:
    if build is byte_level:
        return list(byte_level().encode(text, add_special_tokens=False))
    return [len(SPECIAL) + byte for byte in text.encode()]


@given(st.text(max_size=40))
@pytest.mark.parametrize("build", [byte_level, byte_fallback])
def test_no_piece_ends_within_a_character(build: Build, text: str) -> None:
    tokenizer = build()
    pieces = pieces_of(tokenizer, bytes_as_tokens(text, build))
    assert "".join(pieces) == text_of(tokenizer, bytes_as_tokens(text, build))
    assert UNREADABLE in text or not any(UNREADABLE in piece for piece in pieces)


def test_text_comes_as_soon_as_a_character_is_whole() -> None:
    tokens = bytes_as_tokens("aé😀b", byte_level)
    assert pieces_of(byte_level(), tokens) == ["a", "", "é", "", "", "", "😀", "b", ""]


def test_bytes_that_are_no_text_hold_nothing_back_but_the_last() -> None:
    byte = bytes_as_tokens("é", byte_level)[1]
    first, *later = pieces_of(byte_level(), [byte] * 40)
    assert first == ""
    assert later == [UNREADABLE] * 40


def test_a_long_text_is_not_decoded_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer, longest = byte_level(), 0
    decode = tokenizer.decode

    def counted(tokens: list[int], **options: bool) -> str:
        nonlocal longest
        longest = max(longest, len(tokens))
        text = decode(tokens, **options)
        assert isinstance(text, str)
        return text

    monkeypatch.setattr(tokenizer, "decode", counted)
    pieces_of(tokenizer, bytes_as_tokens("no end " * 50, byte_level))
    assert longest <= 20


TEXT = st.text("abc", max_size=12)
STOPS = st.lists(st.text("abc", min_size=1, max_size=4), max_size=3)


@given(st.lists(TEXT, max_size=8), STOPS)
def test_text_ends_before_the_first_stop_text(parts: list[str], stops: list[str]) -> None:
    stream = StopTexts(stops)
    given = [stream.push(part) for part in parts]
    given.append(stream.finish())
    whole = "".join(parts)
    # Which is whole first, and of those the longest, however the text comes in parts.
    found = [(place + len(stop), place) for stop in stops if (place := whole.find(stop)) >= 0]
    assert "".join(given) == (whole[: min(found)[1]] if found else whole)
    assert stream.is_stopped == bool(found)


@given(st.lists(TEXT, max_size=8), STOPS)
def test_only_what_may_become_a_stop_text_is_held_back(parts: list[str], stops: list[str]) -> None:
    stream, given, seen = StopTexts(stops), "", ""
    for part in parts:
        given, seen = given + stream.push(part), seen + part
        if stream.is_stopped:
            return
        held = seen[len(given) :]
        assert not held or any(stop.startswith(held) and stop != held for stop in stops)


def test_stop_texts_count_only_where_they_are_looked_for() -> None:
    stream = StopTexts(["END"])
    assert stream.push("an END and EN", looks=False) == "an END and EN"
    assert stream.push("D more END here") == "D more "
    assert stream.push("later") == stream.finish() == ""
