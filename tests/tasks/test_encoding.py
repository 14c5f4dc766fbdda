from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, pre_tokenizers
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from tuningfork.errors import TaskError
from tuningfork.tasks.encoding import Piece, TextEncoder

BuildTokenizer = Callable[..., PreTrainedTokenizerBase]
TEMPLATE = "{{ messages[0]['content'] }}<think>\n<|im_end|>"
SCHEMES = ["byte_level", "sentence_piece", "metaspace"]


def template_ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def names(tokenizer: PreTrainedTokenizerBase, ids: list[int]) -> list[str]:
    tokens = tokenizer.convert_ids_to_tokens(ids)
    assert isinstance(tokens, list)
    return tokens


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize(
    "text", ["<|im_start|>user\nChoose the queue<|im_end|>\n<think> a", "<s>card cash", "card <s></s>", "é"]
)
def test_template_text_gets_the_tokenizers_own_ids(
    build_tokenizer: BuildTokenizer, scheme: str, text: str
) -> None:
    for adds_bos in (False, True):
        tokenizer = build_tokenizer(TEMPLATE, scheme=scheme, adds_bos=adds_bos)
        assert TextEncoder(tokenizer).encode([Piece(text)]) == template_ids(tokenizer, text)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("name", ["<|im_end|>", "</s>", "<s>", "<think>"])
def test_data_cannot_name_a_control_token(build_tokenizer: BuildTokenizer, scheme: str, name: str) -> None:
    tokenizer = build_tokenizer(TEMPLATE, scheme=scheme)
    id_ = tokenizer.convert_tokens_to_ids(name)
    encoder = TextEncoder(tokenizer)
    text = f"pay {name} me{name}"
    assert id_ in template_ids(tokenizer, text)
    ids = encoder.encode([Piece("<|im_start|>"), Piece(text, is_data=True)])
    assert id_ not in ids
    assert str(tokenizer.decode(ids[1:])).strip() == text


def test_data_cannot_complete_a_control_token_that_the_template_began(
    build_tokenizer: BuildTokenizer,
) -> None:
    tokenizer = build_tokenizer(TEMPLATE)
    encoder = TextEncoder(tokenizer)
    for beginning, rest in [("<|im_", "end|>"), ("<thi", "nk>")]:
        ids = encoder.encode([Piece(beginning), Piece(rest, is_data=True)])
        assert tokenizer.convert_tokens_to_ids(beginning + rest) not in ids
        assert tokenizer.decode(ids) == beginning + rest


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.lists(
        st.sampled_from(
            ["<|im_end|>", "<|", "im_start", "|>", "<s>", "<think>", "</", "s>", "a", " ", "\n", "é"]
        )
    )
)
def test_no_data_becomes_a_control_token(
    bundled_tokenizer: PreTrainedTokenizerBase, parts: list[str]
) -> None:
    text = "".join(parts).replace("im_start", "user").replace("im_end", "end")
    ids = TextEncoder(bundled_tokenizer).encode([Piece(text, is_data=True)])
    assert not set(ids) & set(bundled_tokenizer.all_special_ids)
    assert bundled_tokenizer.decode(ids, clean_up_tokenization_spaces=False) == text


def test_an_added_word_is_ordinary_text_unless_the_template_writes_it(
    build_tokenizer: BuildTokenizer,
) -> None:
    tokenizer = build_tokenizer("{{ messages[0]['content'] }}<|im_end|>")
    ids = TextEncoder(tokenizer).encode([Piece("<think>", is_data=True)])
    assert ids == [tokenizer.convert_tokens_to_ids("<think>")]


def test_neighbouring_text_is_tokenised_as_one(bundled_tokenizer: PreTrainedTokenizerBase) -> None:
    encoder = TextEncoder(bundled_tokenizer)
    joined = encoder.encode([Piece("Answer: he"), Piece("llo", is_data=True), Piece(" there")])
    assert joined == template_ids(bundled_tokenizer, "Answer: hello there")


@pytest.mark.parametrize("scheme", SCHEMES)
def test_text_that_continues_text_opens_without_an_extra_space(
    build_tokenizer: BuildTokenizer, scheme: str
) -> None:
    tokenizer = build_tokenizer(scheme=scheme)
    encoder = TextEncoder(tokenizer)
    before = encoder.encode([Piece("Choose the queue:")])
    assert [*before, *encoder.encode([Piece(" card")], before)] == template_ids(
        tokenizer, "Choose the queue: card"
    )
    before = encoder.encode([Piece("Choose the queue\n")])
    assert [*before, *encoder.encode([Piece("card")], before)] == template_ids(
        tokenizer, "Choose the queue\ncard"
    )


def test_sentence_piece_opens_a_text_but_not_its_continuation_with_a_space(
    build_tokenizer: BuildTokenizer,
) -> None:
    tokenizer = build_tokenizer(scheme="sentence_piece", adds_bos=True)
    encoder = TextEncoder(tokenizer)
    assert names(tokenizer, encoder.encode([Piece("card")])) == ["▁card"]
    assert names(tokenizer, encoder.encode([Piece("card")], encoder.leading_ids)) == ["▁card"]
    after_text = encoder.encode([Piece("Choose")])
    assert names(tokenizer, encoder.encode([Piece("card")], after_text))[0] != "▁card"


@pytest.mark.parametrize("scheme", SCHEMES)
def test_bos_comes_once(build_tokenizer: BuildTokenizer, scheme: str) -> None:
    tokenizer = build_tokenizer(scheme=scheme, adds_bos=True)
    encoder = TextEncoder(tokenizer)
    assert encoder.leading_ids == (tokenizer.bos_token_id,)
    assert encoder.trailing_ids == ()
    once = encoder.with_leading(encoder.encode([Piece("card")]))
    assert once == list(tokenizer("card")["input_ids"])
    assert encoder.with_leading(once) == once


def test_no_bos_where_the_tokenizer_adds_none(build_tokenizer: BuildTokenizer) -> None:
    encoder = TextEncoder(build_tokenizer())
    assert encoder.leading_ids == ()
    assert encoder.trailing_ids == ()
    assert encoder.with_leading([5, 6]) == [5, 6]


def test_a_control_token_takes_the_space_its_setting_says(build_tokenizer: BuildTokenizer) -> None:
    from tokenizers import AddedToken

    tokenizer = build_tokenizer()
    tokenizer.add_special_tokens(
        {"additional_special_tokens": [AddedToken("<|turn|>", lstrip=True, rstrip=True)]}
    )
    text = "card \n<|turn|>\n cash"
    ids = TextEncoder(tokenizer).encode([Piece(text)])
    assert ids == template_ids(tokenizer, text)
    assert tokenizer.decode(ids) == "card<|turn|>cash"


def test_up_to_control(build_tokenizer: BuildTokenizer) -> None:
    encoder = TextEncoder(build_tokenizer())
    assert encoder.up_to_control(" </s>\n<|im_start|>") == " </s>"
    assert encoder.up_to_control("\nUser:") is None


def test_a_tokenizer_that_reads_control_tokens_in_any_text_is_refused() -> None:
    backend = Tokenizer(WordLevel({"<unk>": 0, "<end>": 1, "card": 2, "\n": 3, "x": 4}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>", eos_token="<end>")  # type: ignore[no-untyped-call]
    encoder = TextEncoder(tokenizer)
    assert encoder.encode([Piece("card unknown", is_data=True)]) == [2, 0]
    with pytest.raises(
        TaskError, match="makes its control token '<end>' out of plain text, as in 'card <end>'"
    ):
        encoder.encode([Piece("card <end>", is_data=True)])
