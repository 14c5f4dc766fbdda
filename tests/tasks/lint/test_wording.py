from typing import Any

import pytest

from tuningfork.tasks.lint.rule import Specimen
from tuningfork.tasks.lint.wording import WORDING


def found(prompt: str, **fields: Any) -> dict[str, list[str]]:
    subject = Specimen({"prompt": prompt, **fields}).subject()
    by_rule = {rule.name: rule.findings(subject) for rule in WORDING}
    return {name: [f"{one.place}: {one.message}" for one in some] for name, some in by_rule.items() if some}


@pytest.mark.parametrize(
    ("prompt", "is_found"),
    [
        ("Be brief. Answer in detail.", True),
        ("Keep it short, and give a detailed answer.", True),
        ("Answer in one word. Think step by step.", True),
        ("Be formal. Use a casual tone.", True),
        ("Answer as JSON. Answer in plain text.", True),
        ("Answer with the name only. Explain your answer.", True),
        ("Be brief. Never answer in detail.", False),
        ("Be brief. Don't explain in detail.", False),
        ("Customers grumble about details. Be brief.", False),
        ("Answer in detail. Name the shop's short hours.", False),
        ("Answer with the name only, without saying why; do not explain your answer.", False),
    ],
)
def test_contradictions(prompt: str, is_found: bool) -> None:
    assert ("contradiction" in found(prompt + " {{message}}")) == is_found


def test_a_contradiction_quotes_both_and_stands_where_the_second_is() -> None:
    (message,) = found("Be brief.\nReply in\ndetail. {{message}}")["contradiction"]
    assert message == "prompt line 2: asks for both short and long answers: 'Be brief' and 'in detail'"


@pytest.mark.parametrize(
    ("prompt", "is_found"),
    [
        ("Obviously, answer.", True),
        ("Answer this crazy customer.", True),
        ("Answer the chairman.", True),
        ("Answer whether it says 'stupid'.", False),
        ("Answer the obvious.", False),
        ("Answer about the lamentable delay.", False),
    ],
)
def test_loaded_words(prompt: str, is_found: bool) -> None:
    assert ("loaded-wording" in found(prompt + " {{message}}")) == is_found


def test_a_label_may_be_a_loaded_word() -> None:
    labels = {"a": "propaganda", "b": "news"}
    assert found("Answer propaganda or news. {{message}}", labels=labels) == {}


@pytest.mark.parametrize(
    ("fields", "is_found"),
    [
        ({"prompt": "Messages to a shop. {{message}}"}, True),
        ({"prompt": "Messages to a shop. {{message}} It is {{answer}}"}, False),
        ({"prompt": "Messages to a shop: {{message}}\nQueue:"}, False),
        ({"prompt": "Find the facts. {{message}}", "type": "extraction", "labels": None}, True),
        ({"prompt": "Find the facts as JSON. {{message}}", "type": "extraction", "labels": None}, False),
        ({"prompt": "Kind shop. {{message}}", "type": "generation", "labels": None, "metric": "chrf"}, True),
        ({"prompt": "Kind shop.", "type": "generation", "labels": None, "metric": "chrf",
          "data": {"train": "x", "messages": "m"}}, False),
    ],
)  # fmt: skip
def test_no_word_on_the_form_of_answers(fields: dict[str, Any], is_found: bool) -> None:
    if fields.get("type") == "extraction":
        fields = {**fields, "metric": "field_f1"}
    assert ("no-output-format" in found(**fields)) == is_found


@pytest.mark.parametrize(
    "secret",
    [
        "sk-ant-" + "a1" * 12,
        "AKIAABCDEFGHIJKLMNOP",
        "ghp_" + "a1" * 18,
        "hf_" + "aB3" * 11,
        "AIza" + "b" * 35,
        "xoxb-1234567890-abc",
        "sk_live_" + "a1" * 12,
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abcdefghijkl",
        "-----BEGIN RSA PRIVATE KEY-----",
        "password: hunter22x",
        "API_KEY = '0123456789abcdef'",
        "postgres://shop:hunter2@db/orders",
    ],
)
def test_secrets(secret: str) -> None:
    (message,) = found(f"Answer.\nUse {secret} {{{{message}}}}")["secret"]
    assert message.startswith("prompt line 2: ")
    assert secret not in message


@pytest.mark.parametrize(
    "text",
    ["Reset your password: click here.", "Ask for the api_key", "Order sk-12", "See https://shop.example/a:b@c",
     "password={{message}}", "The secret key: patience"],
)  # fmt: skip
def test_what_is_no_secret(text: str) -> None:
    assert "secret" not in found(f"Answer. {text} {{{{message}}}}")


def test_a_space_at_the_end_of_a_line() -> None:
    assert found("Answer. \n\t\nNow: {{message}}")["trailing-space"] == [
        "prompt line 1: ends in a space, which nobody sees and the model reads",
        "prompt line 2: ends in a space, which nobody sees and the model reads",
    ]
