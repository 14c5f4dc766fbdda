import pytest

from tests.library.residents import make_key
from tests.serving.conftest import NAME
from tuningfork.errors import AccessError, LibraryError, ServingError
from tuningfork.library.store import Library
from tuningfork.serving.gate import Gate, bearer_key, check_exposure, is_loopback

ADMIN_KEY = "a-long-enough-secret"


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def gate(library: Library, clock: Clock) -> Gate:
    library.people.add("ada", "admin", actor="ada")
    library.people.add("vic", "viewer", actor="ada")
    return Gate(library, admin_key=ADMIN_KEY, clock=clock)


def key(library: Library, *scopes: str, person: str = "vic") -> str:
    return make_key(library, person, *scopes, actor="ada").secret


def test_without_people_everybody_comes_in(library: Library) -> None:
    for found in (Gate(None), Gate(library)):
        assert not found.needs_keys
        caller = found.let_in(None)
        assert caller.view is None
        found.check_prompt(caller, f"{NAME}@production")
        found.check_prompt(caller, None)
        assert found.may_read_all(caller)


def test_with_people_a_key_is_needed(gate: Gate, library: Library) -> None:
    with pytest.raises(AccessError, match="a key is needed: send the header Authorization: Bearer"):
        gate.let_in(None)
    for wrong in ("", "tf_abcdefgh_x", "sk-123", "\ud800", key(library, "read:*@*")[:-1] + "!"):
        with pytest.raises(AccessError, match="this key is not one of this library's"):
            gate.let_in(wrong)
    caller = gate.let_in(key(library, "read:*@*"))
    assert (caller.name, caller.key[:3]) == ("vic", "tf_")


def test_a_key_opens_what_it_is_for(gate: Gate, library: Library) -> None:
    narrow = gate.let_in(key(library, "read:shop/*"))
    gate.check_prompt(narrow, f"{NAME}@production")
    for target in (f"{NAME}@2", f"{NAME}@beta", "draft@production", None):
        with pytest.raises(AccessError, match="vic may not read"):
            gate.check_prompt(narrow, target)
    assert not gate.may_read_all(narrow)
    wide = gate.let_in(key(library, "read:*@*"))
    gate.check_prompt(wide, f"{NAME}@2")
    assert gate.may_read_all(wide)
    # What one key may do, another may not.
    with pytest.raises(AccessError, match="vic may not read"):
        gate.check_prompt(narrow, f"{NAME}@2")


def test_a_revoked_key_opens_nothing_a_second_later(gate: Gate, library: Library, clock: Clock) -> None:
    secret = key(library, "read:*@*")
    caller = gate.let_in(secret)
    gate.check_prompt(caller, f"{NAME}@1")
    library.keys.revoke(caller.key, actor="ada")
    clock.now = 1.0
    with pytest.raises(AccessError, match=r"the key tf_\w+ was revoked"):
        gate.let_in(secret)
    with pytest.raises(AccessError, match=r"the key tf_\w+ was revoked"):
        gate.check_prompt(caller, f"{NAME}@1")


def test_answers_of_the_library_count_for_a_second(
    gate: Gate, library: Library, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = key(library, "read:*@*")
    first = gate.let_in(secret)
    with monkeypatch.context() as patch:
        patch.setattr("tuningfork.library.keys.Keys.authenticate", lambda *_: pytest.fail("was asked"))
        clock.now = 0.9
        assert gate.let_in(secret) is first
    clock.now = 1.1
    assert gate.let_in(secret) is not first


def test_admins_have_a_key_of_the_server_or_their_own(gate: Gate, library: Library) -> None:
    assert gate.check_admin(ADMIN_KEY) == "admin"
    assert gate.check_admin(key(library, "administer:*", person="ada")) == "ada"
    for wrong in (None, ADMIN_KEY + "x", key(library, "*:*"), key(library, "read:*@*", person="ada")):
        with pytest.raises(AccessError):
            gate.check_admin(wrong)
    # The server's own key opens nothing else.
    with pytest.raises(AccessError, match="this key is not one of this library's"):
        gate.let_in(ADMIN_KEY)


def test_without_an_admin_key_nobody_administers_an_open_server(library: Library) -> None:
    for gate in (Gate(None), Gate(library)):
        for given in (None, "", ADMIN_KEY):
            with pytest.raises(AccessError, match="this needs the key of an admin"):
                gate.check_admin(given)
    with pytest.raises(ServingError, match="the admin key is too short to be a secret"):
        Gate(None, admin_key="short")


def test_an_open_server_stays_on_this_machine(library: Library) -> None:
    gate = Gate(library)
    for host in ("127.0.0.1", "localhost", "::1", "127.9.9.9"):
        assert is_loopback(host)
        check_exposure(host, gate, is_open=False)
    for host in ("0.0.0.0", "::", "192.168.1.2", "example.com", ""):
        assert not is_loopback(host)
        with pytest.raises(ServingError, match="other machines could reach this server"):
            check_exposure(host, gate, is_open=False)
        check_exposure(host, gate, is_open=True)
    library.people.add("ada", "admin", actor="ada")
    check_exposure("0.0.0.0", gate, is_open=False)


def test_a_library_that_is_away_lets_nobody_in(
    gate: Gate, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise LibraryError("the database cannot be used")

    monkeypatch.setattr("tuningfork.library.keys.Keys.authenticate", away)
    with pytest.raises(LibraryError, match="cannot be used"):
        gate.let_in("tf_x")


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("Bearer tf_x", "tf_x"),
        ("bearer  tf_x ", "tf_x"),
        ("Basic tf_x", None),
        ("Bearer", None),
        ("", None),
        (None, None),
    ],
)
def test_keys_come_as_bearers(header: str | None, expected: str | None) -> None:
    assert bearer_key(header) == expected
