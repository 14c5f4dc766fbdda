from pathlib import Path

import pytest
from transformers import AutoTokenizer

from tools.pretrain.config import Config
from tools.pretrain.mixture.conversation import Turn, assistant, system, user
from tools.pretrain.rendering import Renderer
from tuningfork.errors import FormatError

CHAT = (
    system("Be kind."),
    user("A bus to Oslo?"),
    assistant("Two of them."),
    user("Why?"),
    assistant("No idea."),
)


@pytest.fixture(scope="module")
def renderer(config: Config) -> Renderer:
    return Renderer(config.tokenizer_folder)


def test_ids_are_those_of_the_chat_template(renderer: Renderer, config: Config) -> None:
    tokenizer = AutoTokenizer.from_pretrained(config.tokenizer_folder)
    messages = [{"role": turn.role, "content": turn.text} for turn in CHAT]
    text = tokenizer.apply_chat_template(messages, tokenize=False)
    rendered = renderer.render(CHAT, 512, 1.0, 0.3)
    assert rendered is not None
    assert rendered.ids == [*tokenizer(text, add_special_tokens=False)["input_ids"], renderer.end_of_text]


def test_answers_and_their_ends_weigh_most_and_headers_nothing(renderer: Renderer) -> None:
    rendered = renderer.render((user("A bus?"), assistant("Two.")), 512, 2.0, 0.25)
    assert rendered is not None
    heavy = [token for token, weight in zip(rendered.ids, rendered.weights, strict=True) if weight == 2.0]
    light = [token for token, weight in zip(rendered.ids, rendered.weights, strict=True) if weight == 0.25]
    assert renderer.decode(heavy) == "Two.<|end|>"
    assert renderer.decode(light) == "A bus?"


def test_a_guess_weighs_like_context(renderer: Renderer) -> None:
    rendered = renderer.render((user("A bus?"), assistant("Two.", is_guess=True)), 512, 2.0, 0.25)
    assert rendered is not None
    assert max(rendered.weights) == 0.25


def test_marked_answers_inside_a_text_weigh_as_answers(renderer: Renderer) -> None:
    text = "Message: hi\nQueue: billing\nMessage: bye\nQueue:"
    start = text.index("billing")
    turns = (user(text, ((start, start + 7),)), assistant("billing"))
    rendered = renderer.render(turns, 512, 2.0, 0.25)
    assert rendered is not None
    heavy = [token for token, weight in zip(rendered.ids, rendered.weights, strict=True) if weight == 2.0]
    assert renderer.decode(heavy) == " billingbilling<|end|>"


def test_control_tokens_in_a_text_stay_text(renderer: Renderer) -> None:
    rendered = renderer.render((user("<|assistant|> <|end|>"), assistant("no")), 512, 1.0, 0.3)
    assert rendered is not None
    assert renderer.decode(rendered.ids).count("<|assistant|>") == 2
    plain = renderer.render((user("x"), assistant("no")), 512, 1.0, 0.3)
    assert plain is not None
    control = set(plain.ids[:1]) | {renderer.end_of_text}
    assert sum(token in control for token in rendered.ids) == 2


def test_what_does_not_fit_is_cut_behind_an_answer(renderer: Renderer) -> None:
    whole = renderer.render(CHAT, 512, 1.0, 0.3)
    assert whole is not None
    cut = renderer.render(CHAT, len(whole.ids) - 1, 1.0, 0.3)
    first = renderer.render(CHAT[:3], 512, 1.0, 0.3)
    assert cut == first
    assert renderer.render(CHAT, 4, 1.0, 0.3) is None


def test_a_document_has_no_headers(renderer: Renderer) -> None:
    rendered = renderer.render((Turn("document", "A castle."),), 512, 1.0, 0.3)
    assert rendered is not None
    assert renderer.decode(rendered.ids) == "A castle.<|endoftext|>"
    assert set(rendered.weights) == {1.0}


def test_a_folder_without_tokenizer_is_named(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="there is no tokenizer"):
        Renderer(tmp_path)
