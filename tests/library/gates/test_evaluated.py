from typing import Any

import pytest

from tests.library.gates.moves import moving
from tests.library.measured import evaluation_of, measure, record
from tests.library.prompts import LINEAGE, add
from tests.library.test_stored_scores import answered
from tuningfork.errors import GateError, LibraryError
from tuningfork.library.contents import VersionRecord
from tuningfork.library.datasets import hash_of_keys
from tuningfork.library.gates.evaluated import EvaluatedGate
from tuningfork.library.gates.gate import GateResult
from tuningfork.library.store import Library

GATE = EvaluatedGate()
ENOUGH = [1.0, 0.0] * 15


def judged(library: Library, version: VersionRecord, **settings: Any) -> GateResult:
    GATE.check_settings(settings)
    with moving(library, version) as move:
        return GATE.judge(move, settings)


def test_a_frozen_test_set_of_enough_rows_passes(library: Library) -> None:
    version = add(library)
    measure(library, version, ENOUGH)
    result = judged(library, version)
    assert result.passed
    assert result.reason.startswith("accuracy 0.500 on 30 rows of shop/tickets-test (")
    assert result.figures == {"rows": 30, "score": 0.5}


def test_without_an_evaluation_the_message_says_how_to_bring_one(library: Library) -> None:
    version = add(library)
    with pytest.raises(
        GateError,
        match=r"no evaluation of shop/tickets@1 \(content [0-9a-f]{12}\) on a frozen test set; bring it "
        "with: tuningfork library evidence add shop/tickets@1 --rows ROWS",
    ):
        judged(library, version)


def test_a_set_that_is_not_frozen_is_none(library: Library) -> None:
    version = add(library)
    made = record(library, version, evaluation_of(version, ENOUGH), freezes=False)
    assert made.dataset is not None
    with pytest.raises(
        GateError, match=f"not frozen; freeze it with: tuningfork library dataset freeze {made.dataset[:12]}"
    ):
        judged(library, version)
    library.freeze_dataset(made.dataset, actor="ann")
    assert judged(library, version).passed


@pytest.mark.parametrize("role", ["train", "clean", "probes", "critical"])
def test_a_set_of_another_role_is_none(library: Library, role: Any) -> None:
    version = add(library)
    evidence = evaluation_of(version, ENOUGH)
    library.add_dataset("shop/other", evidence.keys, role=role, author="ann")
    record(library, version, evidence)
    with pytest.raises(GateError, match="no evaluation of"):
        judged(library, version)


def test_evidence_of_another_version_is_none(library: Library) -> None:
    measure(library, add(library), ENOUGH)
    other = add(library, tensors=b"other")
    with pytest.raises(GateError, match="no evaluation of shop/tickets@2"):
        judged(library, other)


def test_fewer_rows_are_told(library: Library) -> None:
    version = add(library)
    measure(library, version, [1.0] * 19)
    result = judged(library, version)
    assert not result.passed
    assert "has 19 rows, at least 20 are needed" in result.reason
    assert judged(library, version, min_rows=19).passed
    measure(library, version, [1.0] * 20, name="more")
    assert judged(library, version).passed


def test_the_rows_it_learned_from_are_no_test(library: Library) -> None:
    keys = evaluation_of(add(library), ENOUGH).keys
    lineage = LINEAGE.model_copy(update={"data_hash": hash_of_keys(keys)})
    version = add(library, lineage=lineage, tensors=b"learned")
    measure(library, version, ENOUGH)
    result = judged(library, version)
    assert not result.passed
    assert "on the rows it learned from" in result.reason


def test_the_set_may_be_named(library: Library) -> None:
    version = add(library)
    measure(library, version, ENOUGH)
    library.add_dataset("shop/golden", evaluation_of(version, ENOUGH, name="golden").keys, author="ann")
    with pytest.raises(GateError, match=r"no evaluation of .* on shop/golden"):
        judged(library, version, test_set="shop/golden")
    measure(library, version, ENOUGH, name="golden")
    assert judged(library, version, test_set="shop/golden").passed
    with pytest.raises(LibraryError, match="'unknown': no such set of rows"):
        judged(library, version, test_set="unknown")


def test_what_is_posted_beside_the_rows_counts_for_nothing(library: Library) -> None:
    version = add(library)
    evidence = evaluation_of(version, [0.0] * 30)
    library.record_evidence(
        version.reference, evidence, author="ann", summary={"accuracy": 1.0, "rows": 1000}
    )
    library.freeze_dataset("shop/tickets-test", actor="ann")
    assert judged(library, version).figures == {"rows": 30, "score": 0.0}


def test_the_last_evaluation_counts_and_how_many_there_were_is_told(library: Library) -> None:
    version = add(library)
    measure(library, version, [1.0] * 30)
    measure(library, version, [0.0] * 30)
    result = judged(library, version)
    assert result.figures == {"rows": 30, "score": 0.0}
    assert result.reason.endswith("measured 2 times")


def test_metrics_of_the_whole_set_come_from_its_answers(library: Library) -> None:
    version = add(library)
    said, right = ["good"] * 20 + ["bad"] * 10, ["good"] * 10 + ["bad"] * 20
    evidence = answered(said, right, version=version)
    record(library, version, evidence)
    result = judged(library, version)
    assert result.figures is not None
    assert result.figures["score"] == pytest.approx(2 / 3)
