import re

import pytest

from tests.library.measured import evaluation_of, measure
from tests.library.prompts import add
from tests.library.tampering import problems_after
from tuningfork.library.store import Library
from tuningfork.library.verification import verify

CHANGES = [
    ("UPDATE dataset SET frozen = '2001' WHERE frozen IS NULL", r"dataset loose .*: frozen$"),
    ("UPDATE dataset SET frozen = NULL", r"dataset shop/tickets-test .*: frozen$"),
    ("UPDATE dataset SET role = 'test' WHERE role = 'critical'", r"dataset shop/critical .*: role$"),
    ("DELETE FROM dataset WHERE name = 'loose'", r"dataset loose .*: events tell of it, and its row"),
    ("UPDATE evidence SET version_id = 2 WHERE id = 1", r"evidence row 1: no event tells of it"),
    ("UPDATE evidence SET version_id = 2 WHERE id = 1", r"evidence evaluation \w+: events tell of it"),
    ("UPDATE evidence SET dataset_sha256 = NULL WHERE id = 2", "evidence row 2: no event tells of it"),
    ("UPDATE evidence SET content_hash = 'x' WHERE id = 2", "evidence row 2: no event tells of it"),
    ("UPDATE evidence SET kind = 'cost' WHERE id = 2", "evidence row 2: no event tells of it"),
    ("DELETE FROM evidence WHERE id = 2", r"evidence evaluation \w+: events tell of it"),
    ("UPDATE approval SET withdrawn = NULL", "approval row 1: it was withdrawn otherwise"),
    ("UPDATE approval SET withdrawn = '2001' WHERE id = 2", "approval row 2: it was withdrawn otherwise"),
    ("UPDATE approval SET approver = 'ann' WHERE id = 2", "approval row 2: no event tells of it"),
    ("UPDATE approval SET alias = 'production' WHERE id = 3", "approval row 3: no event tells of it"),
    ("UPDATE approval SET version_id = 2 WHERE id = 2", "approval row 2: no event tells of it"),
    ("DELETE FROM approval WHERE id = 2", "approval eve for production at .*: events tell of it"),
]


@pytest.fixture
def governed(library: Library) -> Library:
    """A library with evidence, sets of rows and approvals, some of them taken back."""
    version = add(library)
    add(library, tensors=b"other")
    measure(library, version, [1, 0])
    measure(library, version, [1, 1])
    loose = evaluation_of(version, [1, 0, 1], name="loose")
    library.record_evidence(version.reference, loose, author="ann", dataset_name="loose")
    library.add_dataset("shop/critical", loose.keys[:1], role="critical", author="ann")
    library.freeze_dataset("shop/critical", actor="ann")
    library.approve(version.reference, "production", "bob")
    library.approve(version.reference, "production", "eve")
    library.approve(version.reference, "staging", "bob")
    library.withdraw(version.reference, "production", "bob")
    return library


def test_what_events_tell_of_passes(governed: Library) -> None:
    assert verify(governed).problems == ()
    governed.approve("shop/tickets@1", "production", "bob")
    governed.withdraw("shop/tickets@1", "production", "bob")
    assert verify(governed).problems == ()


def test_what_was_given_by_hand_is_found(governed: Library) -> None:
    for statement, expected in CHANGES:
        found = problems_after(governed, statement)
        assert [line for line in found if re.search(expected, line)], (statement, found)
