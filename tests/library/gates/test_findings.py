from pathlib import Path

import pytest

from tests.library.gates.moves import moving
from tests.library.measured import evaluation_of, measure
from tests.library.prompts import add
from tuningfork.errors import GateError, LibraryError
from tuningfork.library.aliases import MoveRequest
from tuningfork.library.gates.findings import candidate_of, measured, pairs, predecessor_of
from tuningfork.library.store import Library

ROLES = ("test",)


def move_to(library: Library, number: int | None) -> None:
    library.move_alias(MoveRequest("shop/tickets", "production", number, "ann"))


def test_the_newest_measurement_on_each_frozen_set_is_found(library: Library) -> None:
    version = add(library)
    first, second = measure(library, version, [0, 0]), measure(library, version, [1, 0])
    other = measure(library, version, [1, 1], name="others")
    library.record_evidence(version.reference, evaluation_of(version, [1, 1], name="loose"), author="ann")
    with moving(library, version) as move:
        found = measured(move, candidate_of(move), "evaluation", ROLES, {})
        only = measured(move, candidate_of(move), "evaluation", ROLES, {"test_set": first.dataset})
    assert [one.record for one in found] == [other, second]
    assert [one.times for one in found] == [1, 2]
    assert [one.record for one in only] == [second]


def test_a_newest_one_that_is_damaged_is_not_passed_over(library: Library, tmp_path: Path) -> None:
    version = add(library)
    measure(library, version, [1, 1])
    newest = measure(library, version, [0, 0])
    (tmp_path / "artifacts" / newest.sha256[:2] / newest.sha256).write_bytes(b"gone")
    with moving(library, version) as move, pytest.raises(LibraryError, match="is damaged or was changed"):
        measured(move, candidate_of(move), "evaluation", ROLES, {})


def test_what_was_measured_by_another_metric_is_left_out(library: Library) -> None:
    version = add(library)
    wanted = measure(library, version, [0, 0])
    measure(library, version, [0, 0], metric="exact_match")
    with moving(library, version) as move:
        (found,) = measured(move, candidate_of(move), "evaluation", ROLES, {}, metric="accuracy")
        assert found.record == wanted
        with pytest.raises(GateError, match="by token_f1 on a frozen test set"):
            measured(move, candidate_of(move), "evaluation", ROLES, {}, metric="token_f1")


def test_the_predecessor_is_the_current_one_or_the_last_that_was(library: Library) -> None:
    for content in (b"1", b"2", b"3"):
        add(library, tensors=content)
    library.set_policy(None, "production", {}, actor="ann")
    third = library.get("shop/tickets@3")

    def predecessor() -> int | None:
        with moving(library, third, None) as move:
            found = predecessor_of(move)
        return None if found is None else found.version.number

    assert predecessor() is None
    move_to(library, 1)
    move_to(library, 2)
    move_to(library, None)
    assert predecessor() == 2
    library.revoke("shop/tickets@2", actor="ann", reason="rude")
    assert predecessor() == 1
    with moving(library, third, library.get("shop/tickets@2")) as move:
        found = predecessor_of(move)
    assert found is not None
    assert found.version.number == 2


def test_a_pair_is_of_one_set(library: Library) -> None:
    current, candidate = add(library), add(library, tensors=b"candidate")
    theirs = measure(library, current, [1, 0])
    ours = measure(library, candidate, [0, 1])
    measure(library, candidate, [1, 1], name="others")
    with moving(library, candidate, current) as move:
        side = predecessor_of(move)
        assert side is not None
        (found,) = pairs(move, side, ROLES, {})
    assert (found.ours.record, found.theirs.record) == (ours, theirs)
    assert found.dataset.sha256 == ours.dataset == theirs.dataset
