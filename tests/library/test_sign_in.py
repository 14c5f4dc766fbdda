import pytest

from tests.library.residents import ADMIN, EDITOR, NAME, make_key, settle
from tuningfork.errors import AccessError, LibraryError
from tuningfork.library import sign_in as sign_in_module
from tuningfork.library.sign_in import KEY_VARIABLE, sign_in, system_user
from tuningfork.library.store import Library


@pytest.fixture(autouse=True)
def _nobody_s_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY_VARIABLE, raising=False)


def test_a_library_without_people_is_as_it_is(library: Library) -> None:
    assert sign_in(library) is library


def test_the_user_of_the_system_comes_in(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    settle(library)
    monkeypatch.setattr(sign_in_module, "system_user", lambda: EDITOR)
    view = sign_in(library)
    assert view.actor is not None
    assert (view.actor.name, view.actor.key_id, view.get(f"{NAME}@1").number) == (EDITOR, None, 1)
    monkeypatch.setattr(sign_in_module, "system_user", lambda: "eve")
    with pytest.raises(AccessError, match="'eve' is nobody of this library"):
        sign_in(library).get(f"{NAME}@1")


def test_the_environment_does_not_say_who_the_user_is(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = system_user()
    for variable in ("USER", "LOGNAME", "LNAME", "USERNAME"):
        monkeypatch.setenv(variable, ADMIN)
    assert system_user() == expected != ADMIN


def test_a_user_without_a_name_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(uid: int) -> None:
        raise KeyError("getpwuid(): uid not found: 1234")

    monkeypatch.setattr("pwd.getpwuid", unknown)
    with pytest.raises(LibraryError, match="name yourself: --actor NAME, or set TUNINGFORK_KEY"):
        system_user()


def test_a_key_decides_whoever_the_user_is(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    settle(library)
    monkeypatch.setattr(sign_in_module, "system_user", lambda: ADMIN)
    made = make_key(library, EDITOR, "read:shop/*@*")
    monkeypatch.setenv(KEY_VARIABLE, f"{made.secret}\n")
    view = sign_in(library)
    assert view.actor is not None
    assert (view.actor.name, view.actor.key_prefix) == (EDITOR, made.record.prefix)
    library.keys.revoke(made.record.prefix, actor=ADMIN)
    # It is not the user who comes in instead.
    with pytest.raises(AccessError, match="was revoked"):
        sign_in(library)


def test_a_wrong_key_opens_not_even_an_open_library(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "tf_abcdefgh_" + "x" * 43)
    with pytest.raises(AccessError, match="not one of this library's"):
        sign_in(library)


def test_an_empty_key_is_none(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, " ")
    assert sign_in(library) is library
