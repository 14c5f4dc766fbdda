import re
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from tests.library.measured import evaluation_of, guard_lightly, row_keys
from tests.library.prompts import FILE, add
from tests.library.tampering import problems_after, told
from tuningfork.errors import AccessError, LibraryError
from tuningfork.events import Event, StageAdvanced, StageFinished, StageStarted
from tuningfork.library.access import Action
from tuningfork.library.aliases import MoveRequest
from tuningfork.library.artifacts import open_artifacts
from tuningfork.library.chain import append_event, events
from tuningfork.library.database import reading, writing
from tuningfork.library.store import Library
from tuningfork.library.verification import REPAIRED, repair, verify


@pytest.fixture
def filled(library: Library) -> Library:
    """Everything that events tell of happened at least once."""
    for number in range(3):
        add(library, tensors=b"%d" % number, text=f"Say which, {number}.")
    add(library, "bank/reply", parent=None, note="a note", description="Replies")
    library.set_policy("bank/reply", "production", {"contract": {}}, actor="ann")
    guard_lightly(library, actor="ann")
    for number in (1, 2):
        library.move_alias(MoveRequest("shop/tickets", "production", number, "ann"))
    library.roll_back("shop/tickets", "production", actor="ben", reason="worse")
    library.move_alias(MoveRequest("shop/tickets", "staging", 3, "ann"))
    library.move_alias(MoveRequest("shop/tickets", "staging", None, "ann"))
    library.move_alias(MoveRequest("bank/reply", "production", 1, "ann"))
    library.revoke("shop/tickets@3", actor="ann", reason="bias")
    library.describe("bank/reply", actor="ann", description="Answers", owner="cem")
    library.tag("bank/reply", "language:en", actor="ann")
    library.record_evidence(
        "shop/tickets@1", evaluation_of(library.get("shop/tickets@1"), [1, 0]), author="ann"
    )
    library.freeze_dataset(library.datasets()[0].name, actor="ann")
    library.add_dataset("others", row_keys(3, "others"), author="ben", role="critical")
    library.approve("shop/tickets@2", "production", "ben", "read it")
    library.approve("shop/tickets@2", "production", "cem")
    library.withdraw("shop/tickets@2", "production", "cem")
    return library


def change(library: Library, *statements: str) -> None:
    with writing(library.engine) as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SET LOCAL session_replication_role = replica"))
        else:
            connection.execute(text("PRAGMA defer_foreign_keys = ON"))
        for statement in statements:
            connection.execute(text(statement))


def change_without_rules(library: Library, *statements: str) -> None:
    """As somebody does who edits the file: nothing holds foreign keys."""
    if library.engine.dialect.name == "postgresql":
        change(library, *statements)
        return
    raw = library.engine.raw_connection()
    raw.driver_connection.execute("PRAGMA foreign_keys = OFF")  # type: ignore[union-attr]
    for statement in statements:
        raw.driver_connection.execute(statement)  # type: ignore[union-attr]
    raw.invalidate()


def test_a_library_that_is_whole_passes(filled: Library, tmp_path: Path) -> None:
    found = verify(filled, expected_head=filled.head())
    assert told(found) == []
    assert found.passed
    assert (found.num_events, found.num_versions, found.num_artifacts) == (22, 4, 7)
    held = [path.stat().st_size for path in (tmp_path / "artifacts").glob("*/*")]
    assert (found.num_bytes, found.num_artifacts) == (sum(held), len(held))
    assert found.head == filled.head()


CHANGED_ROWS = [
    ("UPDATE version SET text = 'Say nothing.' WHERE id = 1", "version shop/tickets@1: .*: content$"),
    ("UPDATE version SET kind = 'nothing' WHERE id = 1", "version shop/tickets@1: .*: content$"),
    ("UPDATE version SET contract = '{}' WHERE id = 1", "version shop/tickets@1: .*: content$"),
    ("UPDATE version SET content_hash = 'x' WHERE id = 1", "@1: .*: content hash$"),
    ('UPDATE version SET lineage = \'{"origin": "x"}\' WHERE id = 1', "@1: .*: lineage$"),
    ("UPDATE version SET note = 'x' WHERE id = 4", "version bank/reply@1: .*: note$"),
    ("UPDATE version SET parent_number = 1 WHERE id = 2", "@2: .*: parent$"),
    ("UPDATE version SET author = 'x' WHERE id = 2", "@2: .*: author$"),
    ("UPDATE version SET created = 'x' WHERE id = 2", "@2: .*: time$"),
    ("UPDATE version SET revoked = NULL WHERE id = 3", "@3: it was revoked at .* does not say so"),
    ("UPDATE version SET revoked = 'x' WHERE id = 3", "@3: no event revoked it at x"),
    ("UPDATE version SET revoked = 'x' WHERE id = 2", "@2: no event revoked it at x"),
    ("UPDATE version_artifact SET path = 'x' WHERE version_id = 1", "@1: .*: content, files$"),
    ("DELETE FROM version_artifact WHERE version_id = 1", "@1: .*: content, files$"),
    ("UPDATE prompt SET name = 'x' WHERE id = 2", "version bank/reply@1: .*: name of the prompt$"),
    ("UPDATE prompt SET folder = 'x/' WHERE id = 2", "prompt bank/reply: its folder 'x/' is not in"),
    ("UPDATE prompt SET owner = 'x' WHERE id = 2", "prompt bank/reply: its owner is not"),
    ("UPDATE prompt SET description = 'x' WHERE id = 2", "prompt bank/reply: its description is not"),
    ("UPDATE prompt SET last_number = 2 WHERE id = 1", "prompt shop/tickets: its newest version"),
    ("UPDATE prompt SET kind = 'text' WHERE id = 1", "prompt shop/tickets: its newest version"),
    ("UPDATE alias SET number = 3 WHERE number = 1 AND prompt_id = 1", "@production: it points to 3 "),
    ("UPDATE alias SET generation = 9 WHERE prompt_id = 2", "after 9 moves; events say 1 after 1"),
    ("UPDATE alias SET number = 2 WHERE name = 'staging'", "alias shop/tickets@staging: it points to 2"),
    ("DELETE FROM alias WHERE prompt_id = 2", "alias bank/reply@production: it is missing; .* to 1"),
    (
        "INSERT INTO alias VALUES (1, 'canary', 3, 1, 'x')",
        "alias shop/tickets@canary: no event tells of it",
    ),
    ("UPDATE policy SET gates = '{}' WHERE id = 1", "policy of bank/reply: row 1 is not .*: gates$"),
    ("UPDATE policy SET alias = 'x' WHERE id = 2", "policy of all prompts: row 2 is not .*: alias$"),
    ("DELETE FROM policy WHERE id = 2", "policy of all prompts: the row that event .* is missing"),
    (
        "INSERT INTO policy VALUES (99, 1, 'production', '{}', 'x', 'x')",
        "policy row 99: no event tells of it",
    ),
    ("UPDATE gate_run SET results = '[]' WHERE id = 1", "gate run of shop/tickets: .*: results$"),
    ("UPDATE gate_run SET passed = (1 = 0) WHERE id = 2", "gate run of shop/tickets: .*: passed$"),
    ("UPDATE gate_run SET version_id = 3 WHERE id = 2", "gate run of shop/tickets: .*: number$"),
    ("DELETE FROM gate_run WHERE id = 4", "gate run of bank/reply: the row that event"),
    ("UPDATE artifact SET num_bytes = 9 WHERE num_bytes = 7", "artifact .* has 7 bytes; its row says 9"),
    ("UPDATE approval SET approver = 'eve' WHERE id = 1", "approval of shop/tickets: .*: approver$"),
    ("UPDATE approval SET version_id = 3 WHERE id = 1", "approval of shop/tickets: .*: number$"),
    ("UPDATE approval SET withdrawn = NULL", "approval shop/tickets@2: 0 for production are withdrawn; .* 1"),
    ("UPDATE approval SET withdrawn = 'x'", "approval shop/tickets@2: 2 for production are withdrawn; .* 1"),
    (
        "INSERT INTO approval VALUES (99, 1, 'production', 'eve', '', 'x', NULL)",
        "approval row 99: no event tells of it",
    ),
    ("UPDATE evidence SET version_id = 2", "evidence of shop/tickets: .*: number$"),
    ("UPDATE evidence SET content_hash = 'x'", "evidence of shop/tickets: .*: content_hash$"),
    ("UPDATE evidence SET dataset_sha256 = 'x'", "evidence of shop/tickets: .*: dataset_sha256$"),
    ("DELETE FROM evidence", "evidence of shop/tickets: the row that event .* is missing"),
    ("UPDATE dataset SET frozen = NULL", "dataset .*: not what events say: frozen$"),
    ("UPDATE dataset SET frozen = 'x' WHERE frozen IS NULL", "dataset .*: not what events say: frozen$"),
    ("UPDATE dataset SET role = 'test'", "dataset .*: not what events say: role$"),
    ("UPDATE dataset SET author = 'eve'", "dataset .*: not what events say: author$"),
    ("DELETE FROM dataset", "dataset .*: events tell of it, and its row is missing"),
    ("INSERT INTO person VALUES (9, 'eve', 'admin', 'x', NULL)", "person person eve: no event tells of it"),
]
MISSING_ROWS = [
    (
        "DELETE FROM version WHERE id = 1",
        "version shop/tickets@1: .* registered it, and its row is missing",
    ),
    ("DELETE FROM version WHERE id = 1", "prompt shop/tickets: it has 2 versions.*registered 1 to 3"),
    ("DELETE FROM prompt WHERE id = 2", "prompt prompts: 1 that events tell of are missing"),
    ("DELETE FROM artifact WHERE num_bytes = 7", "artifact .*: a row names it, and no list"),
    (
        "INSERT INTO version SELECT 99, 1, 4, kind, content_hash, text, contract, lineage, note, "
        "parent_number, author, created, NULL FROM version WHERE id = 1",
        "prompt shop/tickets: it has 4 versions, the newest 4; events registered 1 to 3",
    ),
    (
        "INSERT INTO prompt SELECT 99, 'x', '', '', 'x', 'x', 0, '' FROM prompt WHERE id = 1",
        "prompt x: no event tells of it",
    ),
]
CHANGED_EVENTS = [
    "time = '2020'",
    "actor = 'eve'",
    "kind = 'other'",
    "prompt_id = 3 - prompt_id",
    "payload = '{}'",
    "payload = payload || ' '",
    "payload = 'no JSON'",
    "previous_hash = hash",
    "hash = 'x' || substr(hash, 2)",
    "sequence = 99",
]


def test_a_row_that_is_not_what_its_event_says_is_found(filled: Library) -> None:
    for statement, expected in CHANGED_ROWS + MISSING_ROWS:
        found = problems_after(filled, statement)
        assert [line for line in found if re.search(expected, line)], (statement, found)
    assert verify(filled).passed


def test_any_field_of_an_event_that_was_changed_is_found(filled: Library) -> None:
    for sequence in (1, 5, 15, 22):
        for assignment in CHANGED_EVENTS:
            found = problems_after(filled, f"UPDATE event SET {assignment} WHERE sequence = {sequence}")
            assert [line for line in found if line.startswith("chain")], (assignment, sequence, found)


def test_nothing_is_repaired_where_the_chain_is_broken(filled: Library) -> None:
    change(filled, "UPDATE event SET actor = 'eve' WHERE sequence = 3", "DELETE FROM alias")
    with pytest.raises(LibraryError, match="nothing was repaired, for the chain of events itself is broken"):
        repair(filled, actor="ann")
    with reading(filled.engine) as connection:
        assert connection.scalar(text("SELECT count(*) FROM alias")) == 0


def test_a_forged_event_with_a_right_hash_is_found_by_its_rows(filled: Library) -> None:
    with writing(filled.engine) as connection:
        payload = {"prompt": "shop/tickets", "alias": "production", "before": 1, "after": 2, "gates": []}
        append_event(connection, "alias rolled back", "eve", payload, prompt_id=1)
        append_event(connection, "alias rolled back", "eve", payload, prompt_id=1)
    lines = told(verify(filled))
    assert "from 1, which pointed to 2" in lines[0]
    assert "alias shop/tickets@production: it points to 1 after 3 moves; events say 2 after 5" in lines


def test_a_tail_that_was_cut_off_is_found_by_the_head_that_was_kept(filled: Library) -> None:
    kept = filled.head()
    change(filled, "DELETE FROM event WHERE sequence = 22")
    change(filled, "UPDATE approval SET withdrawn = NULL")
    assert verify(filled).passed
    (problem,) = verify(filled, expected_head=kept).problems
    assert (problem.kind, kept[:12] in problem.what, "cut off" in problem.what) == ("chain", True, True)


@pytest.mark.parametrize("place", [0, 3, 6])
def test_any_byte_of_an_artifact_that_was_changed_is_found(
    filled: Library, tmp_path: Path, place: int
) -> None:
    sha256 = filled.get("bank/reply").content.files[FILE]
    path = tmp_path / "artifacts" / sha256[:2] / sha256
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    (line,) = told(verify(filled))
    assert line.startswith(f"artifact {sha256}: its bytes were changed")


def test_artifacts_that_are_missing_or_cannot_be_read_are_found(filled: Library, tmp_path: Path) -> None:
    first, second = (filled.get(f"shop/tickets@{number}").content.files[FILE] for number in (1, 2))
    filled.artifacts.remove(first)
    filled.artifacts.remove(second)
    (tmp_path / "artifacts" / second[:2] / second).mkdir()
    found = sorted(told(verify(filled)))
    assert [line for line in found if f"{first}: it is missing in" in line]
    assert [line for line in found if f"{second}: " in line and "cannot be read" in line]


def test_garbage_is_no_problem(filled: Library) -> None:
    filled.artifacts.put(b"garbage")
    assert verify(filled).passed


def test_progress_is_told(filled: Library) -> None:
    class Kept:
        def __init__(self) -> None:
            self.seen: list[Event] = []

        def emit(self, event: Event) -> None:
            self.seen.append(event)

    sink = Kept()
    verify(filled, sink=sink)
    started = [event.name for event in sink.seen if isinstance(event, StageStarted)]
    assert started == ["Verify chain", "Verify rows", "Verify bytes"]
    assert [event.name for event in sink.seen if isinstance(event, StageFinished)] == started
    assert StageAdvanced("Verify rows", 22) in sink.seen
    assert StageAdvanced("Verify bytes", 7) in sink.seen


MENDED = [
    ("UPDATE alias SET number = 3 WHERE prompt_id = 1", "alias", "points to 1 again"),
    ("DELETE FROM alias WHERE prompt_id = 1", "alias", "points to None again"),
    ("INSERT INTO alias VALUES (1, 'canary', 3, 1, 'x')", "alias", "removed"),
    (
        "UPDATE prompt SET last_number = 2, kind = 'x' WHERE id = 1",
        "prompt",
        "version is @3",
    ),
    ("UPDATE prompt SET folder = 'x' WHERE id = 1", "prompt", "newest version"),
    ("UPDATE artifact SET num_bytes = 9 WHERE num_bytes = 7", "artifact", "size is listed"),
    ("DELETE FROM artifact WHERE num_bytes = 7", "artifact", "listed again"),
    ("DELETE FROM prompt_words", "words", "search finds them"),
]


def test_what_follows_from_the_rest_is_mended_and_told(filled: Library) -> None:
    for statement, kind, what in MENDED:
        before = filled.head()
        change_without_rules(filled, statement)
        assert all(problem.can_be_repaired for problem in verify(filled).problems), statement
        assert not verify(filled).passed, statement
        repairs = repair(filled, actor="ann")
        assert {made.kind for made in repairs} == {kind}, statement
        assert any(re.search(what, made.what) for made in repairs), statement
        assert told(verify(filled, expected_head=before)) == [], statement
        with reading(filled.engine) as connection:
            made = list(events(connection, kind=REPAIRED))[-len(repairs) :]
        assert [(event.actor, event.payload["what"]) for event in made] == [
            ("ann", repaired.what) for repaired in repairs
        ]
    assert repair(filled, actor="ann") == []


BEYOND_REPAIR = [
    "UPDATE version SET text = 'x' WHERE id = 1",
    "UPDATE version SET revoked = NULL WHERE id = 3",
    "UPDATE policy SET gates = '{}' WHERE id = 1",
    "UPDATE gate_run SET passed = (1 = 0) WHERE id = 1",
    "UPDATE prompt SET owner = 'x' WHERE id = 2",
]


def test_nothing_is_invented(filled: Library) -> None:
    for count, statement in enumerate(BEYOND_REPAIR, 1):
        change(filled, statement)
        before = told(verify(filled))
        assert len(before) == count
        assert repair(filled, actor="ann") == []
        assert told(verify(filled)) == before


def test_bytes_come_back_only_from_a_copy_that_has_them(filled: Library, tmp_path: Path) -> None:
    sha256 = filled.get("bank/reply").content.files[FILE]
    path, copy = tmp_path / "artifacts" / sha256[:2] / sha256, open_artifacts(tmp_path / "copy")
    path.write_bytes(b"damaged")
    assert repair(filled, actor="ann") == []
    assert repair(filled, actor="ann", source=copy) == []
    copy.put(b"tensors")
    held = tmp_path / "copy" / sha256[:2] / sha256
    held.write_bytes(b"wrong!!")
    assert repair(filled, actor="ann", source=copy) == []
    assert path.read_bytes() == b"damaged"
    held.write_bytes(b"tensors")
    (made,) = repair(filled, actor="ann", source=copy)
    assert (made.kind, made.where, made.what) == ("artifact", sha256, f"brought back from {copy.place}")
    assert verify(filled).passed
    path.unlink()
    assert len(repair(filled, actor="ann", source=copy)) == 1
    assert verify(filled).passed


def test_repairing_needs_the_right(filled: Library) -> None:
    class Nobody:
        def check(self, connection: Connection, actor: str, action: Action, name: str) -> None:
            raise AccessError(f"{actor} may not {action}")

    filled.access = Nobody()
    with pytest.raises(AccessError, match="ann may not administer"):
        repair(filled, actor="ann")


def test_a_database_file_that_is_damaged_is_told_of(tmp_path: Path) -> None:
    with Library(tmp_path) as library:
        for number in range(50):
            add(library, tensors=b"%d" % number, text=f"{number} " * 300)
        with library.engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
            page = connection.scalar(
                text("SELECT rootpage FROM sqlite_master WHERE name = 'ix_version_content_hash'")
            )
    file = tmp_path / "library.db"
    content = bytearray(file.read_bytes())
    content[page * 4096 - 50 : page * 4096] = b"0" * 50
    file.write_bytes(content)
    with Library(tmp_path) as library:
        found = verify(library)
    assert {problem.kind for problem in found.problems} == {"database"}
    assert "ix_version_content_hash" in found.problems[0].what
