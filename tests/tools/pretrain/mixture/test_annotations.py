import pytest

from tools.pretrain.corpus import Document
from tools.pretrain.mixture.annotations import Review, concepts_of, message_of, review_of, slots_of


@pytest.mark.parametrize(
    ("source", "prompt"),
    [
        ("sgd_intent", "Message: book it\nIntent:"),
        ("sgd_intent", "Intent (a, b): book it"),
        ("sgd_intent", "book it\n\nWhich of the following best describes this request: a, b?"),
        ("sgd_service", "What is this text about? a, b\n\nbook it"),
        ("sgd_service", "Route this request to the right team.\nTeams: a, b\nRequest: book it"),
        ("sgd_slots", "book it\n\nJSON:"),
        ("sgd_slots", "Message: book it\nReturn a JSON object with the fields mentioned."),
    ],
)
def test_the_message_is_found_in_every_wording(source: str, prompt: str) -> None:
    assert message_of(Document("task", source, prompt, "a")) == "book it"


def test_another_wording_has_no_message() -> None:
    assert message_of(Document("task", "sgd_intent", "Something else", "a")) is None


def test_slots_that_are_no_json_are_none() -> None:
    assert slots_of(Document("task", "sgd_slots", "x\n\nJSON:", "no")) is None
    assert slots_of(Document("task", "sgd_slots", "x\n\nJSON:", '{"city": "Oslo"}')) == {"city": "Oslo"}


def test_a_review_has_its_stars_and_title() -> None:
    prompt = "Title: Fine\nReview: It works.\nIs the review positive or negative?"
    found = review_of(Document("task", "amazon_polarity_Is_this_review", prompt, "Positive"))
    assert found == Review("It works.", 5, "Fine")


def test_a_yes_that_depends_on_the_question_is_no_verdict() -> None:
    prompt = "Is this product review negative?\nTitle: Fine\nReview: It works."
    assert review_of(Document("task", "amazon_polarity_Is_this_review_negative", prompt, "No")) is None


def test_concepts_come_with_their_caption() -> None:
    document = Document(
        "task", "common_gen_x", "Given the list of concepts: cup, tea; \nGo :", "A cup of tea"
    )
    assert concepts_of(document) == ("A cup of tea", ["cup", "tea"])
