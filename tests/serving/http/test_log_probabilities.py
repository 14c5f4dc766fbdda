from tests.serving.scripted_engine import tokens_of
from tests.tiny_folder import build_byte_tokenizer
from tuningfork.serving.http.log_probabilities import chat_log_probabilities, completion_log_probabilities
from tuningfork.serving.requests import TokenLogProbability
from tuningfork.serving.token_texts import TokenTexts

TEXTS = TokenTexts(build_byte_tokenizer())


def test_offsets_are_of_characters_in_the_text() -> None:
    found = completion_log_probabilities(
        [TokenLogProbability(token, -1.0) for token in tokens_of("a☕b<|end|>c")], TEXTS, start=5
    )
    assert found["text_offset"] == [5, 6, 6, 6, 7, 8, 8]
    assert found["tokens"][0] == "a"
    assert found["tokens"][-2:] == ["<|end|>", "c"]


def test_the_token_itself_is_among_the_likely_ones() -> None:
    (a, b) = tokens_of("ab")
    found = completion_log_probabilities([TokenLogProbability(a, -2.0, ((b, -0.5),))], TEXTS, start=0)
    assert found["top_logprobs"] == [{"b": -0.5, "a": -2.0}]
    bare = completion_log_probabilities([TokenLogProbability(a, -2.0)], TEXTS, start=0)
    assert bare["top_logprobs"] == [{"a": -2.0}]


def test_what_nobody_could_know_is_null_and_what_cannot_be_is_very_small() -> None:
    (a,) = tokens_of("a")
    entries = [TokenLogProbability(a, None), TokenLogProbability(a, float("-inf"))]
    found = completion_log_probabilities(entries, TEXTS, start=0)
    assert found["token_logprobs"] == [None, -9999.0]
    assert found["top_logprobs"] == [None, {"a": -9999.0}]
    chat = chat_log_probabilities(entries, TEXTS)
    assert [entry["logprob"] for entry in chat["content"]] == [-9999.0, -9999.0]
