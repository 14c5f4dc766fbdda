import pytest

from tuningfork.cli.library.people_tables import print_keys, print_people, print_person
from tuningfork.library.keys import KeyRecord
from tuningfork.library.people import Person

DAY = "2026-01-02T03:04:05.000006+00:00"


@pytest.fixture(autouse=True)
def _columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def test_people_are_a_table_within_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    places = {"shop/": "editor", "secret/plans": "none"}
    people = [
        Person.model_validate({"name": "ann", "role": "admin", "created": DAY}),
        Person.model_validate(
            {"name": "b" * 64, "role": "viewer", "created": DAY, "disabled": DAY, "permissions": places}
        ),
    ]
    print_people(people, as_json=False)
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 80
    # A long name goes on in the next line: it is all there.
    assert printed.count("b") >= 64
    assert "2026-01-02" in printed


def test_nobody_is_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    print_people([], as_json=False)
    print_keys([], as_json=False)
    open_to_all, no_keys = capsys.readouterr().out.splitlines()
    assert open_to_all.startswith("Nobody was added")
    assert no_keys.startswith("No keys")


def test_what_changed_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    person = Person(name="bob", role="viewer", created=DAY, disabled=DAY, permissions={"a/": "none"})
    print_person(person, "Disabled", as_json=False)
    assert capsys.readouterr().out == "Disabled  bob: viewer, disabled; none at a/\n"


def test_brackets_in_scopes_are_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    record = KeyRecord(
        prefix="tf_abcdefgh", name="ci", person="ann", scopes=("read:[red]x",), created=DAY, expires=None
    )
    ended = record.model_copy(update={"revoked": DAY, "last_used": DAY})
    print_keys([record, ended], as_json=False)
    header, first, second = capsys.readouterr().out.splitlines()
    assert header.split() == ["key", "name", "of", "scopes", "until", "used"]
    assert first.split() == ["tf_abcdefgh", "ci", "ann", "read:[red]x", "for", "good", "never"]
    assert second.split()[-2:] == ["revoked", "2026-01-02"]
