"""Annotations read back from the corpus's own task rows: intents, services, slots, ratings, concepts."""

import json
import re
from dataclasses import dataclass

from tools.pretrain.corpus import Document

_MESSAGE_FORMS = {
    "sgd_intent": (
        re.compile(r"Pick the label for this text from [^\n]*\.\nText: (?P<message>.*)\nLabel:", re.DOTALL),
        re.compile(r"Message: (?P<message>.*)\nIntent:", re.DOTALL),
        re.compile(r"Intent \([^\n)]*\): (?P<message>.*)", re.DOTALL),
        re.compile(r"(?P<message>.*)\n\nWhich of the following best describes this request: .*", re.DOTALL),
        re.compile(r"What does the customer want\? Options: [^\n]*\.\nMessage: (?P<message>.*)", re.DOTALL),
    ),
    "sgd_service": (
        re.compile(r"Which department should handle this message\? [^\n]*\n(?P<message>.*)", re.DOTALL),
        re.compile(
            r"Route this request to the right team\.\nTeams: [^\n]*\nRequest: (?P<message>.*)", re.DOTALL
        ),
        re.compile(r"What is this text about\? [^\n]*\n\n(?P<message>.*)", re.DOTALL),
        re.compile(r"Topic of the message \([^\n)]*\): (?P<message>.*)", re.DOTALL),
    ),
    "sgd_slots": (
        re.compile(r"Extract the details from the message as JSON\.\n(?P<message>.*)", re.DOTALL),
        re.compile(r"Message: (?P<message>.*)\nReturn a JSON object with the fields mentioned\.", re.DOTALL),
        re.compile(r"List what the customer asked for [^\n]*\nCustomer: (?P<message>.*)", re.DOTALL),
        re.compile(r"(?P<message>.*)\n\nJSON:", re.DOTALL),
    ),
}
_AMAZON = re.compile(
    r"(?:Review title|Title): (?P<title>[^\n]*)\n(?:Product review|Review): (?P<review>[^\n]*)"
)
_YELP = re.compile(r"(?:Review text:\n|Review: )(?P<review>[^\n]*)\n")
_CAPTION = re.compile(r"(?:We have the sentence|What are the topics in the sentence): (?P<text>[^\n;]*)")
_CONCEPTS = re.compile(
    r"(?:list of concepts|order of the concepts|form a sentence): (?P<concepts>[a-z, ]+)[;.]"
)
_ONE_SIDED_KEPT_OF = 4
_AMAZON_POSITIVE = {"positive", "flattering", "satisfied", "increase"}
_AMAZON_NEGATIVE = {"negative", "unflattering", "dissatisfied", "decrease"}


@dataclass(frozen=True, slots=True)
class Review:
    """A review and how many of five stars it gave."""

    text: str
    stars: int
    title: str = ""


def message_of(document: Document) -> str | None:
    """Return the customer's message inside a row of intents, services or slots."""
    for form in _MESSAGE_FORMS.get(document.source, ()):
        if match := form.fullmatch(document.text):
            return " ".join(match["message"].split())
    return None


def slots_of(document: Document) -> dict[str, str] | None:
    """Return the slots of a row of `sgd_slots`; values stand in the message word for word."""
    try:
        slots = json.loads(document.response)
    except ValueError:
        return None
    if not isinstance(slots, dict):
        return None
    return {str(name): str(value) for name, value in slots.items()}


def review_of(document: Document) -> Review | None:
    """Return the review inside a row of a review task, where its rating is known."""
    source, answer = document.source, document.response.lower()
    if source.startswith("amazon_polarity_") and (match := _AMAZON.search(document.text)):
        if answer in _AMAZON_POSITIVE | _AMAZON_NEGATIVE:
            return Review(_one_line(match["review"]), 5 if answer in _AMAZON_POSITIVE else 1, match["title"])
        return None
    if source == "yelp_review_full_on_a_scale" and (match := _YELP.search(document.text)):
        return (
            Review(_one_line(match["review"]), int(answer)) if answer in {"1", "2", "3", "4", "5"} else None
        )
    # These two hold one verdict each, so their style would give it away; a few of them do no harm.
    if document.digest[0] % _ONE_SIDED_KEPT_OF:
        return None
    if source == "rotten_tomatoes_Reviewer_Expressed_Sentiment" and answer == "positive":
        return Review(_one_line(document.text.split(" What is the sentiment", 1)[0]), 5)
    if source == "imdb_Reviewer_Expressed_Sentiment" and answer == "negative":
        return Review(_one_line(document.text.split(" What is the sentiment", 1)[0]), 1)
    return None


def concepts_of(document: Document) -> tuple[str, list[str]] | None:
    """Return a caption and its concepts, from the `common_gen` tasks that name both."""
    if not document.source.startswith("common_gen_"):
        return None
    if match := _CAPTION.match(document.text):
        return match["text"].strip(), [word.strip() for word in document.response.split(",")]
    if match := _CONCEPTS.search(document.text):
        return document.response, [word.strip() for word in match["concepts"].split(",")]
    return None


def _one_line(text: str) -> str:
    text = text.replace("<br />", " ").replace("\\n", " ").replace('\\"', '"').replace('""', '"')
    return " ".join(text.split())
