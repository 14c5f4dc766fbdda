"""A library as somebody may use it: whatever it can do is refused to who may do nothing."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.library.measured import evaluation_of, row_keys
from tests.library.prompts import FILE, add
from tests.library.residents import ADMIN, EDITOR, NAME, NOBODY, SECRET, VIEWER, as_person, settle, with_key
from tuningfork.errors import AccessError, LibraryError
from tuningfork.library.aliases import MoveRequest
from tuningfork.library.canonical import hash_bytes
from tuningfork.library.chain import events
from tuningfork.library.contents import VersionRecord
from tuningfork.library.database import reading
from tuningfork.library.evidence_records import EvidenceRecord
from tuningfork.library.exchange.keys import PublicKey
from tuningfork.library.store import Library
from tuningfork.library.verification import verify

FIRST_EVIDENCE = EvidenceRecord(
    id=1, kind="evaluation", content_hash="", dataset=None, sha256="", summary={}, author="", created=""
)
SIGNER = PublicKey("ed25519:" + "A" * 43 + "=", "partner")
Attempt = Callable[[Library, str, VersionRecord], object]
ATTEMPTS: dict[str, Attempt] = {
    "register": lambda library, actor, version: add(library, tensors=b"new", author=actor),
    "get": lambda library, actor, version: library.get(f"{NAME}@1"),
    "versions": lambda library, actor, version: library.versions(NAME),
    "files": lambda library, actor, version: list(library.files(version)),
    "file_sizes": lambda library, actor, version: library.file_sizes(version),
    "check_out": lambda library, actor, version: library.check_out(version, Path("never")),
    "newest_like": lambda library, actor, version: library.newest_like(NAME),
    "page": lambda library, actor, version: library.page(NAME),
    "history": lambda library, actor, version: library.history(NAME),
    "policy": lambda library, actor, version: library.policy(NAME, "production"),
    "diff": lambda library, actor, version: library.diff(f"{NAME}@1", f"{NAME}@2"),
    "tree": lambda library, actor, version: library.tree(NAME),
    "timeline": lambda library, actor, version: library.timeline(NAME),
    "head": lambda library, actor, version: library.head(),
    "move_alias": lambda library, actor, version: library.move_alias(MoveRequest(NAME, "beta", 1, actor)),
    "try_move": lambda library, actor, version: library.try_move(
        MoveRequest(NAME, "beta", 1, actor), only_judges=True
    ),
    "roll_back": lambda library, actor, version: library.roll_back(NAME, "beta", actor=actor),
    "revoke": lambda library, actor, version: library.revoke(f"{NAME}@1", actor=actor, reason="no"),
    "set_policy": lambda library, actor, version: library.set_policy(NAME, "beta", {}, actor=actor),
    "tag": lambda library, actor, version: library.tag(NAME, "new", actor=actor),
    "untag": lambda library, actor, version: library.untag(NAME, "new", actor=actor),
    "comment": lambda library, actor, version: library.comment(NAME, "why?", author=actor),
    "describe": lambda library, actor, version: library.describe(NAME, actor=actor, description="new"),
    "record_evidence": lambda library, actor, version: library.record_evidence(
        f"{NAME}@1", evaluation_of(version, [1, 1]), author=actor
    ),
    "evidence": lambda library, actor, version: library.evidence(f"{NAME}@1"),
    "read_evidence": lambda library, actor, version: library.read_evidence(f"{NAME}@1", FIRST_EVIDENCE),
    "add_dataset": lambda library, actor, version: library.add_dataset("new", row_keys(5), author=actor),
    "freeze_dataset": lambda library, actor, version: library.freeze_dataset(f"{NAME}-test", actor=actor),
    "datasets": lambda library, actor, version: library.datasets(),
    "approve": lambda library, actor, version: library.approve(f"{NAME}@1", "beta", actor),
    "withdraw": lambda library, actor, version: library.withdraw(f"{NAME}@1", "beta", actor),
    "approvals": lambda library, actor, version: library.approvals(f"{NAME}@1"),
    "trusted_keys": lambda library, actor, version: library.trusted_keys(),
    "trust": lambda library, actor, version: library.trust(SIGNER, actor=actor),
    "end_trust": lambda library, actor, version: library.end_trust(SIGNER, actor=actor),
    "people": lambda library, actor, version: library.people.all(actor=actor),
}
"""Everything that a library can do, by name; `people` and `keys` have tests of their own."""
OTHERWISE = {"acting", "close", "keys", "prompts", "search"}
"""What shows nothing of a prompt, or only what may be read, which is seen below and in test_access.py."""


@pytest.fixture
def settled(library: Library) -> Library:
    return settle(library)


def test_every_method_is_tried() -> None:
    assert {name for name in dir(Library) if not name.startswith("_")} == set(ATTEMPTS) | OTHERWISE


def test_who_may_do_nothing_does_nothing(settled: Library) -> None:
    view, version = as_person(settled, NOBODY), settled.get(f"{NAME}@1")
    keyed, head = with_key(settled, ADMIN, "read:nothing"), settled.head()
    for name, attempt in ATTEMPTS.items():
        for library, actor in ((view, NOBODY), (as_person(settled, "eve"), "eve"), (keyed, ADMIN)):
            with pytest.raises(AccessError):
                pytest.fail(f"{actor} may {name}: {attempt(library, actor, version)}")
    assert view.prompts() == keyed.prompts() == []
    assert settled.search("tickets").prompts
    assert view.search("tickets").prompts == keyed.search("tickets").prompts == ()
    assert settled.head() == head


@pytest.mark.parametrize("by_key", [False, True])
def test_admins_do_everything(
    settled: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by_key: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    view = with_key(settled, ADMIN, "*:*") if by_key else as_person(settled, ADMIN)
    version = settled.get(f"{NAME}@1")
    for number in (2, 1, 2):
        settled.move_alias(MoveRequest(NAME, "beta", number, ADMIN))
    last = ("untag", "move_alias", "roll_back", "revoke")
    before = settled.head()
    for name in [*(name for name in ATTEMPTS if name not in last), *last]:
        ATTEMPTS[name](view, ADMIN, version)
    with reading(settled.engine) as connection:
        done = list(events(connection))
    since = [event.hash for event in done].index(before) + 1
    assert {event.actor.partition(" ")[0] for event in done[since:]} == {ADMIN}
    assert settled.get(f"{NAME}@1").revoked is not None


def test_who_may_not_register_leaves_no_bytes(settled: Library) -> None:
    before = {sha256 for sha256, _ in settled.artifacts.hashes()}
    for view, actor in ((as_person(settled, VIEWER), VIEWER), (with_key(settled, EDITOR, "read:*"), EDITOR)):
        with pytest.raises(AccessError, match=f"{actor} may not register {NAME}"):
            add(view, tensors=b"much of it", author=actor)
    assert {sha256 for sha256, _ in settled.artifacts.hashes()} == before


def test_who_may_not_read_the_library_does_not_look_through_it(settled: Library) -> None:
    for view in (as_person(settled, NOBODY), with_key(settled, ADMIN, "read:shop/*@*")):
        with pytest.raises(AccessError, match="may not read the library as a whole"):
            verify(view)
    assert verify(as_person(settled, VIEWER)).passed
    assert verify(settled).passed


def test_a_view_changes_nothing_for_others(settled: Library) -> None:
    view = as_person(settled, NOBODY)
    assert settled.actor is None
    assert settled.get(f"{NAME}@1").number == 1
    with pytest.raises(AccessError):
        view.acting(view.actor or pytest.fail("nobody")).get(f"{NAME}@1")
    # A view of a view is that of the last.
    assert view.acting(as_person(settled, ADMIN).actor or pytest.fail("nobody")).get(f"{NAME}@1").number == 1


def test_events_name_the_person_and_the_key_but_rows_the_person(settled: Library) -> None:
    view = with_key(settled, EDITOR, "*:*")
    assert view.actor is not None
    made = add(view, "new", author=EDITOR)
    assert made.author == view.page("new").owner == EDITOR
    view.move_alias(MoveRequest("new", "beta", 1, EDITOR))
    with reading(settled.engine) as connection:
        last = list(events(connection))[-2:]
    assert [event.actor for event in last] == [f"{EDITOR} (key {view.actor.key_prefix})"] * 2


def test_a_key_for_production_reads_what_is_production(settled: Library, tmp_path: Path) -> None:
    settled.move_alias(MoveRequest(NAME, "production", 1, EDITOR))
    view = with_key(settled, EDITOR, "read:shop/*")
    version = view.get(NAME)
    assert view.get(f"{NAME}@production") == version
    view.check_out(version, tmp_path / "out")
    assert (tmp_path / "out" / FILE).read_bytes() == b"tensors"
    for reference in (f"{NAME}@latest", f"{NAME}@2", f"{NAME}@1", SECRET):
        with pytest.raises(AccessError, match=r"it is for read:shop/\*@production"):
            view.get(reference)
    # What was given out stays readable when the alias moves between the two calls.
    settled.move_alias(MoveRequest(NAME, "production", 2, EDITOR))
    assert list(view.files(version)) == [(FILE, b"tensors")]
    with pytest.raises(AccessError):
        list(with_key(settled, EDITOR, "read:shop/*").files(version))


def test_a_record_that_was_made_up_opens_no_file(settled: Library) -> None:
    add(settled, SECRET, tensors=b"the plans", author=EDITOR)
    settled.people.permit(VIEWER, "secret/", "none", actor=ADMIN)
    view = as_person(settled, VIEWER)
    given = view.get(f"{NAME}@1")
    stolen = given.content.model_copy(update={"files": {FILE: hash_bytes(b"the plans")}})
    for forged in (
        given.model_copy(update={"content": stolen}),
        given.model_copy(update={"content": stolen, "content_hash": stolen.hash}),
    ):
        # It is that of the name which is read.
        assert list(view.files(forged)) == [(FILE, b"tensors")]
        assert view.file_sizes(forged) == {FILE: len(b"tensors")}
    with pytest.raises(AccessError, match=f"vic may not read {SECRET}@3"):
        list(view.files(given.model_copy(update={"prompt": SECRET, "number": 3})))


def test_names_of_what_may_not_be_read_are_not_told(settled: Library) -> None:
    settled.people.permit(VIEWER, "secret/", "none", actor=ADMIN)
    with pytest.raises(LibraryError, match="did you mean secret/plans"):
        settled.get("secret/plan")
    view = as_person(settled, VIEWER)
    # Whether there is such a prompt is not told either.
    for name in (SECRET, "secret/plan"):
        with pytest.raises(AccessError, match=f"vic may not read {name}@1"):
            view.get(f"{name}@1")
    with pytest.raises(LibraryError, match="no such prompt") as caught:
        view.get("secret-plans@1")
    assert SECRET not in str(caught.value)
