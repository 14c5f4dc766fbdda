import pytest
from tokenizers import Tokenizer, decoders
from tokenizers.models import BPE

from tests.tiny_folder import build_byte_tokenizer
from tests.tiny_models import wrap_tokenizer
from tuningfork.serving.token_texts import TokenTexts


@pytest.fixture(scope="module")
def texts() -> TokenTexts:
    return TokenTexts(build_byte_tokenizer())


@pytest.mark.parametrize("text", ["plain", "ünïcode ☕", "\t\n  ", "\x00\x7f", "naïve 漢字 🙂"])
def test_tokens_of_a_text_say_its_bytes(texts: TokenTexts, text: str) -> None:
    ids = build_byte_tokenizer()(text, add_special_tokens=False)["input_ids"]
    assert b"".join(texts.bytes_of(token) for token in ids) == text.encode()
    assert texts.text_of_row(ids) == text


def test_every_byte_has_a_text_of_its_own(texts: TokenTexts) -> None:
    named = [texts.text_of(token) for token in range(len(texts))]
    assert len(set(named)) == len(named) == 264
    tokenizer = build_byte_tokenizer()
    first, second = tokenizer("é", add_special_tokens=False)["input_ids"]
    assert (texts.text_of(first), texts.text_of(second)) == (r"bytes:\xc3", r"bytes:\xa9")


def test_control_tokens_have_names_and_say_nothing(texts: TokenTexts) -> None:
    ids = build_byte_tokenizer()("<s>a<|end|>", add_special_tokens=False)["input_ids"]
    assert [texts.text_of(token) for token in ids] == ["<s>", "a", "<|end|>"]
    assert texts.text_of_row([*ids, -1, 10**6]) == "a"
    assert [texts.said_by(token) for token in ids] == [b"", b"a", b""]


def test_spaces_and_bytes_of_word_pieces_are_read() -> None:
    vocabulary = {"<unk>": 0, "<s>": 1, "</s>": 2, "<pad>": 3, "▁the": 4, "<0xE2>": 5, "re": 6}
    backend = Tokenizer(BPE(vocabulary, [], unk_token="<unk>"))
    backend.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback()])
    texts = TokenTexts(wrap_tokenizer(backend, None))
    assert texts.text_of(4) == " the"
    assert texts.bytes_of(5) == b"\xe2"
    assert texts.text_of(5) == r"bytes:\xe2"
    assert texts.text_of(6) == "re"
