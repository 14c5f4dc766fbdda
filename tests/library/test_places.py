from pathlib import Path

import pytest

from tuningfork.errors import LibraryError
from tuningfork.library.places import LibraryPlace


def test_what_is_given_wins_over_the_environment_and_that_over_the_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TUNINGFORK_LIBRARY", raising=False)
    assert LibraryPlace.of() == LibraryPlace("library")
    assert LibraryPlace.of(runs=Path("all/runs")).library == "all/library"
    assert LibraryPlace.of(runs=Path()).library == "../library"
    monkeypatch.setenv("TUNINGFORK_LIBRARY", "named")
    monkeypatch.setenv("TUNINGFORK_ARTIFACTS", "s3://bytes")
    assert LibraryPlace.of() == LibraryPlace("named", "s3://bytes")
    assert LibraryPlace.of("given", "here") == LibraryPlace("given", "here")


def test_only_opening_makes_one(tmp_path: Path) -> None:
    place = LibraryPlace(str(tmp_path / "library"), str(tmp_path / "bytes"))
    with pytest.raises(LibraryError, match="library: there is no library here; name one with --library"):
        place.open_existing()
    assert not place.exists
    assert not (tmp_path / "library").exists()
    place.open().close()
    assert place.exists
    with place.open_existing() as library:
        assert library.artifacts.place == str(tmp_path / "bytes")


def test_a_password_is_not_shown() -> None:
    place = LibraryPlace("postgresql://ann:secret@db/prompts")
    assert place.exists
    assert "secret" not in str(place)
    assert "ann" in str(place)
