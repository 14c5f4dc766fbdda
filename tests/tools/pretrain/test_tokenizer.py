from pathlib import Path

from tools.pretrain import tokenizer
from tools.pretrain.tokenizer import CHAT_TEMPLATE, CONTROL_TOKENS


def test_control_tokens_come_first_and_any_text_comes_back() -> None:
    trained = tokenizer.train(["a castle by the river"] * 5, 300)
    assert [trained.id_to_token(number) for number in range(len(CONTROL_TOKENS))] == list(CONTROL_TOKENS)
    text = "Grüße, 12 \U0001f98a\n  castles"
    assert trained.decode(trained.encode(text).ids) == text


def test_digits_stand_alone() -> None:
    trained = tokenizer.train(["in 1999 and 1999 and 1999"] * 20, 300)
    tokens = trained.encode("1999").tokens
    assert tokens == ["1", "9", "9", "9"]


def test_control_tokens_and_template_are_those_of_the_bundled_model(bundled_model_folder: Path) -> None:
    template = (bundled_model_folder / "chat_template.jinja").read_text(encoding="utf-8")
    assert template.rstrip("\n") == CHAT_TEMPLATE.rstrip("\n")
