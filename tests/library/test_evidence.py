import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.library.measured import evaluation_of, evidence_from, row_keys
from tests.library.prompts import content_of
from tuningfork.errors import LibraryError
from tuningfork.library.contents import Lineage, VersionRecord
from tuningfork.library.datasets import hash_of_keys
from tuningfork.library.evidence import (
    ROWS,
    Evidence,
    EvidenceHeader,
    EvidenceKind,
    MetricScale,
    hash_answer,
    read_evidence,
    write_evidence,
)

CONTENT = content_of()
VERSION = VersionRecord(
    prompt="shop/tickets",
    number=1,
    content=CONTENT,
    content_hash=CONTENT.hash,
    lineage=Lineage(origin="text"),
    note="",
    parent=None,
    author="ann",
    created="",
)
KEYS = row_keys(4)
EXAMPLES: dict[EvidenceKind, list[dict[str, Any]]] = {
    "evaluation": [
        {"row": KEYS[0], "score": 1.0, "log_loss": 0.1, "weight": 2.0, "critical": True},
        {"row": KEYS[1], "score": 0.0, "latency_seconds": 0.1, "answer_hash": hash_answer("no")},
        {"row": KEYS[2], "score": 1.0, "answer": "yes", "targets": ("yes", "ja")},
    ],
    "robustness": [
        {"row": key, "variant": variant, "score": 0.5} for key in KEYS[:2] for variant in ("plain", "loud")
    ],
    "bias": [
        {
            "row": KEYS[0],
            "template": "t1",
            "groups": ("women", "men"),
            "answers": ("yes", "no"),
            "scores": (0.2, 0.4),
        }
    ],
    "guard": [{"row": KEYS[0], "is_blocked": False}, {"row": KEYS[1], "is_blocked": True}],
    "cost": [{"row": KEYS[0], "latency_seconds": 0.2, "input_tokens": 3, "output_tokens": 1, "money": 0.01}],
}


def lines_of(evidence: Evidence) -> list[dict[str, Any]]:
    return [json.loads(line) for line in write_evidence(evidence).splitlines()]


def read_lines(lines: list[dict[str, Any]]) -> Evidence:
    return read_evidence("".join(json.dumps(line) + "\n" for line in lines).encode())


@pytest.mark.parametrize("kind", ROWS)
def test_every_kind_is_read_as_it_was_written(kind: EvidenceKind) -> None:
    made = evidence_from(VERSION, kind, EXAMPLES[kind])
    content = write_evidence(made)
    assert read_evidence(content) == made
    assert write_evidence(read_evidence(content)) == content
    assert content.endswith(b"\n")
    assert content.isascii()
    for line in content.splitlines():
        assert json.dumps(json.loads(line), sort_keys=True, separators=(",", ":")).encode() == line


def test_rows_of_one_variant_are_the_set() -> None:
    made = evidence_from(VERSION, "robustness", EXAMPLES["robustness"])
    assert made.header.dataset == hash_of_keys(KEYS[:2])
    assert sorted(made.keys) == sorted(KEYS[:2])


@pytest.mark.parametrize(
    ("row", "change", "problem"),
    [
        (1, {"score": float("nan")}, "line 2: score: .*finite"),
        (1, {"score": float("inf")}, "line 2: score"),
        (1, {"score": "1"}, "line 2: score: .*valid number"),
        (1, {"score": True}, "line 2: score"),
        (1, {"score": 1.5}, r"line 2: a score of accuracy lies in 0 to 1, found 1\.5"),
        (2, {"score": -0.1}, "line 3: a score of accuracy lies in"),
        (3, {"score": 0.0}, "line 4: accuracy of its answer is 1, found 0"),
        (1, {"weight": -1.0}, "line 2: weight"),
        (1, {"log_loss": float("nan")}, "line 2: log_loss"),
        (1, {"passed": True}, "line 2: passed: .*not permitted"),
        (1, {"row": "abc"}, "line 2: row"),
        (1, {"row": KEYS[0] + "\n"}, "line 2: row"),
        (1, {"row": KEYS[3]}, "its 3 rows are not those of the set"),
        (1, {"row": KEYS[1]}, "its 3 rows are not those of the set"),
        (1, {"probabilities": [0.5, 0.5]}, "line 2: 2 probabilities for 0 labels"),
        (0, {"dataset": "0" * 64}, "its 3 rows are not those of the set 000000000000"),
        (0, {"dataset": None}, "names the hash of its set"),
        (0, {"metric": None}, "evaluation evidence names its metric"),
        (0, {"metric": {"name": "accuracy", "maximum": 100.0}}, "metric accuracy goes to 1"),
        (0, {"metric": {"name": "accuracy", "higher_is_better": False}}, "higher is better: True; found"),
        (0, {"metric": {"name": "magic"}}, "its metric cannot be read: unknown metric 'magic'"),
        (0, {"kind": "magic"}, "line 1: kind"),
        (0, {"kind": "guard"}, "line 2: is_blocked|guard evidence has no metric"),
        (0, {"format": 2}, "line 1: format"),
        (0, {"content_hash": "abc"}, "line 1: content_hash"),
    ],
)
def test_what_cannot_be_is_refused(row: int, change: dict[str, Any], problem: str) -> None:
    lines = lines_of(evidence_from(VERSION, "evaluation", EXAMPLES["evaluation"]))
    lines[row] |= change
    with pytest.raises(LibraryError, match=problem):
        read_lines(lines)


def test_a_row_too_few_or_too_many_is_refused() -> None:
    lines = lines_of(evaluation_of(VERSION, [1, 0, 1]))
    for others in (lines[:-1], [*lines, lines[-1]], lines[:1], [*lines, {**lines[1], "row": KEYS[3]}]):
        with pytest.raises(LibraryError, match=r"are not those of the set|has no rows"):
            read_lines(others)


def test_the_order_of_rows_says_nothing_to_the_set() -> None:
    lines = lines_of(evaluation_of(VERSION, [1, 0, 1]))
    assert read_lines([lines[0], *lines[:0:-1]]).header.dataset == hash_of_keys(row_keys(3))


def test_a_variant_that_lacks_a_row_is_refused() -> None:
    lines = lines_of(evidence_from(VERSION, "robustness", EXAMPLES["robustness"]))
    with pytest.raises(LibraryError, match="every row in every variant"):
        read_lines(lines[:-1])


def test_a_function_of_the_user_s_is_taken_at_its_word_and_never_run() -> None:
    scale = MetricScale(name="my_package.of:score", maximum=5.0, higher_is_better=False)
    made = Evidence(
        evaluation_of(VERSION, [0.0]).header.model_copy(update={"metric": scale}),
        evaluation_of(VERSION, [0.0]).rows,
    )
    metric = read_evidence(write_evidence(made)).header.metric
    assert metric is not None
    assert (metric.metric.maximum, metric.metric.higher_is_better, metric.range) == (5.0, False, (0.0, 5.0))
    with pytest.raises(LibraryError, match="is not run where evidence is judged"):
        metric.metric.score("a", ["a"])


def test_rows_of_another_kind_do_not_pass_as_these() -> None:
    made = evaluation_of(VERSION, [1.0])
    header = made.header.model_copy(update={"kind": "guard", "metric": None})
    with pytest.raises(LibraryError, match="rows are not all those of guard evidence"):
        Evidence(header, made.rows)


@given(st.binary(max_size=300) | st.text(max_size=100).map(str.encode))
def test_whatever_the_bytes_they_are_read_or_refused(content: bytes) -> None:
    with pytest.raises(LibraryError):
        read_evidence(content)


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=5,
    ),
    st.sampled_from(["row", "score", "weight", "critical", "answer", "targets", "probabilities", "x"]),
    st.integers(0, 2),
)
def test_whatever_a_field_holds_it_is_read_or_refused(value: Any, field: str, line: int) -> None:
    lines = lines_of(evaluation_of(VERSION, [1, 0]))
    lines[line][field] = value
    try:
        found = read_lines(lines)
    except LibraryError:
        return
    assert write_evidence(found) == write_evidence(read_evidence(write_evidence(found)))


def test_a_header_alone_is_no_evidence() -> None:
    header = EvidenceHeader(kind="cost", content_hash="a" * 64)
    with pytest.raises(LibraryError, match="cost evidence has no rows"):
        Evidence(header, [])
