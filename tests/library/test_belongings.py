from tests.library.exchange.bundles import DATASET, NAME, add_evidence, register
from tuningfork.library import schema
from tuningfork.library.aliases import MoveRequest
from tuningfork.library.belongings import belongings, concerns
from tuningfork.library.database import reading, writing
from tuningfork.library.store import Library


def test_what_names_the_version_belongs_to_it_and_nothing_else(library: Library) -> None:
    first, second = register(library), register(library, 2.0)
    ours, _ = add_evidence(library, first), add_evidence(library, second, score=0.0)
    for number in (1, 2):
        library.move_alias(MoveRequest(NAME, "staging", number, "ann"))
    library.move_alias(MoveRequest(NAME, "other", 2, "ann"))
    register(library, name="words")
    with reading(library.engine) as connection:
        found = belongings(connection, NAME, 1)
    assert found.version.reference == first.reference
    assert found.description == "Queues."
    assert [row.sha256 for row in found.evidence] == [ours]
    assert [row.sha256 for row in found.datasets] == [DATASET]
    assert [row.kind for row in found.events] == [
        "version registered",
        "evidence recorded",
        "alias moved",
        "alias moved",
    ]


def test_evidence_about_another_content_does_not_belong(library: Library) -> None:
    add_evidence(library, register(library))
    with writing(library.engine) as connection:
        connection.execute(schema.evidence.update().values(content_hash="0" * 64))
        found = belongings(connection, NAME, 1)
    assert found.evidence == ()
    assert found.datasets == ()


def test_an_event_concerns_what_it_registers_moves_to_and_moves_from() -> None:
    assert concerns({"number": 3}, 3)
    assert concerns({"before": None, "after": 3}, 3)
    assert concerns({"before": 3, "after": 4}, 3)
    assert not concerns({"before": 2, "after": 4, "number": "3"}, 3)


def test_evidence_of_the_same_content_elsewhere_does_not_belong(library: Library) -> None:
    add_evidence(library, register(library, name="words"))
    register(library)
    with reading(library.engine) as connection:
        assert len(belongings(connection, "words", 1).evidence) == 1
        assert belongings(connection, NAME, 1).evidence == ()
