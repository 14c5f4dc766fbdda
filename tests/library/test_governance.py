import pytest

from tests.library.measured import evaluation_of
from tests.library.prompts import add
from tests.library.residents import (
    ADMIN,
    EDITOR,
    NAME,
    REVIEWER,
    SECRET,
    VIEWER,
    as_person,
    settle,
    with_key,
)
from tuningfork.errors import AccessError, LibraryError
from tuningfork.library.access import Action
from tuningfork.library.aliases import MoveRequest
from tuningfork.library.store import Library


def test_who_records_must_be_let_and_nothing_is_left_of_it(library: Library) -> None:
    class OnlyAnn:
        def check(self, connection: object, actor: str, action: Action, name: str) -> None:
            if actor != "ann":
                raise AccessError(f"{actor} may not {action} {name}")

    version = add(library)
    library.access = OnlyAnn()
    head = library.head()
    with pytest.raises(AccessError, match="eve may not register shop/tickets"):
        library.record_evidence(version.reference, evaluation_of(version, [1, 0]), author="eve")
    assert (library.head(), library.datasets(), library.evidence(version.reference)) == (head, [], [])


def test_references_are_aliases_too(library: Library) -> None:
    version = add(library)
    made = library.record_evidence("shop/tickets@latest", evaluation_of(version, [1, 0]), author="ann")
    assert library.evidence("shop/tickets@1") == [made]
    for reference in ("shop/tickets", "shop/tickets@2", "shop/other@1"):
        with pytest.raises(LibraryError, match=r"nothing is production yet|its versions are|no such prompt"):
            library.evidence(reference)


def test_keys_for_production_read_no_other_evidence(library: Library) -> None:
    settled = settle(library)
    settled.move_alias(MoveRequest(NAME, "production", 1, EDITOR))
    view = with_key(settled, EDITOR, "read:shop/*")
    (record,) = view.evidence(NAME)
    assert len(view.read_evidence(NAME, record).rows) == 2
    assert [one.sha256 for one in view.datasets(NAME)] == [record.dataset]
    for reference in (f"{NAME}@1", f"{NAME}@2"):
        for read in (view.evidence, view.approvals, view.datasets):
            with pytest.raises(AccessError, match="it is for read:shop"):
                read(reference)
        with pytest.raises(AccessError):
            view.read_evidence(reference, record)
    with pytest.raises(AccessError):
        view.datasets()


def test_a_record_that_was_made_up_opens_no_file(library: Library) -> None:
    settled = settle(library)
    hidden = evaluation_of(settled.get(f"{SECRET}@1"), [1, 1])
    secret = settled.record_evidence(f"{SECRET}@1", hidden, author=ADMIN)
    view = as_person(settled, VIEWER)
    (given,) = view.evidence(f"{NAME}@1")
    forged = given.model_copy(update={"sha256": secret.sha256})
    assert view.read_evidence(f"{NAME}@1", forged) == view.read_evidence(f"{NAME}@1", given)
    with pytest.raises(LibraryError, match=f"there is no evidence {secret.id} of it"):
        view.read_evidence(f"{NAME}@1", secret)


def test_approvals_are_given_in_person_by_reviewers(library: Library) -> None:
    settled = settle(library)
    reviewed, edited = as_person(settled, REVIEWER), as_person(settled, EDITOR)
    with pytest.raises(AccessError, match="cannot approve in the name of"):
        as_person(settled, ADMIN).approve(f"{NAME}@1", "production", REVIEWER)
    with pytest.raises(AccessError, match="may not approve"):
        edited.approve(f"{NAME}@1", "production", EDITOR)
    with pytest.raises(AccessError, match=r"ed may not act|cannot approve in the name of"):
        edited.approve(f"{NAME}@1", "production", REVIEWER)
    reviewed.approve(f"{NAME}@1", "production", REVIEWER)
    with pytest.raises(AccessError, match="cannot approve in the name of"):
        as_person(settled, ADMIN).withdraw(f"{NAME}@1", "production", REVIEWER)
    narrow = with_key(settled, REVIEWER, "approve:shop/*@staging")
    narrow.approve(f"{NAME}@1", "staging", REVIEWER)
    with pytest.raises(AccessError, match="it is for approve"):
        narrow.withdraw(f"{NAME}@1", "production", REVIEWER)
    assert [one.alias for one in settled.approvals(f"{NAME}@1")] == ["production", "staging"]


def test_editors_measure_and_reviewers_say_what_counts(library: Library) -> None:
    settled = settle(library)
    edited, reviewed = as_person(settled, EDITOR), as_person(settled, REVIEWER)
    version = settled.get(f"{NAME}@1")
    evidence = evaluation_of(version, [1, 0, 1], name="easy")
    with pytest.raises(AccessError, match="may not register"):
        reviewed.record_evidence(f"{NAME}@1", evidence, author=REVIEWER)
    made = edited.record_evidence(f"{NAME}@1", evidence, author=EDITOR, dataset_name="shop/easy")
    with pytest.raises(AccessError, match="may not approve shop/easy"):
        edited.freeze_dataset("shop/easy", actor=EDITOR)
    assert reviewed.freeze_dataset("shop/easy", actor=REVIEWER).sha256 == made.dataset
    settled.people.permit(EDITOR, "private/", "viewer", actor=ADMIN)
    other = evaluation_of(version, [1, 0, 1], name="other")
    with pytest.raises(AccessError, match="may not register private/set"):
        edited.record_evidence(f"{NAME}@1", other, author=EDITOR, dataset_name="private/set")
