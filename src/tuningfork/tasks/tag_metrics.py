"""Scores of the tags of a row against the right ones; tags are a text with white space between.

The score of a split is the mean of its rows weighed by how much each row has to say: words, or entities that
are there or were found. So it is the score of all rows read as one, which is how both are usually reported.
"""

from collections.abc import Iterable, Sequence

OUTSIDE = "O"
Span = tuple[int, int, str]
"""First word, the word behind the last, and the type of an entity."""


def is_bio(tags: Iterable[str]) -> bool:
    """Return whether `tags` are those of the BIO scheme: O, B-TYPE and I-TYPE, and not O alone."""
    entity_tags = {tag for tag in tags if tag != OUTSIDE}
    return bool(entity_tags) and all(tag[:2] in ("B-", "I-") and len(tag) > 2 for tag in entity_tags)


def entity_spans(tags: Sequence[str]) -> set[Span]:
    """Return the entities that BIO `tags` mark.

    As in conlleval, the script of CoNLL-2000 and 2003, and in seqeval unless it is strict: B- begins an
    entity, and so does an I- that follows O or an entity of another type. Tags of no BIO scheme are outside.
    """
    spans: set[Span] = set()
    start, kind = 0, ""
    for place, tag in enumerate([*tags, OUTSIDE]):
        prefix, type_ = (tag[:2], tag[2:]) if is_bio([tag]) else ("", "")
        if kind and (prefix != "I-" or type_ != kind):
            spans.add((start, place, kind))
            kind = ""
        if type_ and not kind:
            start, kind = place, type_
    return spans


def entity_f1(prediction: str, references: Sequence[str]) -> float:
    """Return the F1 of the entities of a row: right where first word, last word and type are.

    Two rows without entities agree fully. Over a split it is the micro-averaged F1 of Tjong Kim Sang, De
    Meulder 2003, "Introduction to the CoNLL-2003 Shared Task", https://arxiv.org/abs/cs/0306050.
    """
    found, right = (entity_spans(tags.split()) for tags in (prediction, references[0]))
    return 2 * len(found & right) / (len(found) + len(right)) if found or right else 1.0


def num_entities(prediction: str, references: Sequence[str]) -> float:
    """Return how many entities were found and how many there are, together."""
    return float(sum(len(entity_spans(tags.split())) for tags in (prediction, references[0])))


def token_accuracy(prediction: str, references: Sequence[str]) -> float:
    """Return the share of the words of a row that have the right tag; a tag too few or too many is wrong."""
    found, right = prediction.split(), references[0].split()
    longer = max(len(found), len(right))
    return sum(map(str.__eq__, found, right)) / longer if longer else 1.0


def num_words(prediction: str, references: Sequence[str]) -> float:
    """Return how many words there are."""
    del prediction
    return float(len(references[0].split()))
