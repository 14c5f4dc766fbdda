from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.json_server import Answer, Asked, JsonServer, Said, serving_json
from tuningfork.errors import RemoteError
from tuningfork.library.exchange import server as server_module
from tuningfork.library.exchange.server import Server, escaped

SECRET = "sk-lf-0123456789"


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "_FIRST_WAIT_SECONDS", 0.001)


@contextmanager
def asking(answer: Answer) -> Iterator[tuple[Server, JsonServer]]:
    with (
        serving_json(answer) as running,
        Server(running.address, login=("pk", SECRET)) as asked,
    ):
        yield asked, running


def test_json_goes_and_comes() -> None:
    with asking(lambda asked: Said({"got": asked.body, "query": asked.query})) as (server, running):
        assert server.get("/a", {"x": 1, "y": "ü/&"}) == {"got": None, "query": {"x": "1", "y": "ü/&"}}
        assert server.send("POST", f"/{escaped('a/b c')}", {"n": "ü"}) == {"got": {"n": "ü"}, "query": {}}
    assert running.asked[1].path == ("a/b c",)
    assert running.asked[1].headers["content-type"] == "application/json"
    assert running.asked[0].headers["authorization"].startswith("Basic ")
    assert running.asked[0].headers["user-agent"].startswith("tuningfork/")
    assert repr(server) == f"Server('{running.address}')"


def test_a_header_opens_it_too() -> None:
    with serving_json(lambda _: Said({})) as running:
        with Server(running.address + "/", headers={"Authorization": f"Bearer {SECRET}"}) as server:
            server.get("/x")
        assert running.asked[0].headers["authorization"] == f"Bearer {SECRET}"
        assert running.asked[0].path == ("x",)


def test_nothing_there_is_not_an_error_where_that_may_be() -> None:
    with asking(lambda _: Said({"message": "gone"}, 404)) as (server, _):
        assert server.find("/x") is None
        with pytest.raises(RemoteError, match=r"127\.0\.0\.1:\d+: knows nothing at /x \(status 404\)"):
            server.get("/x")
        with pytest.raises(RemoteError, match="knows nothing at /x"):
            server.send("POST", "/x", {})


def test_questions_are_asked_again_and_changes_are_sent_once() -> None:
    answers = [Said({"message": "busy"}, 503), Said({"message": "busy"}, 429), Said({"ok": 1})]
    with asking(lambda _: answers.pop(0)) as (server, running):
        assert server.get("/x") == {"ok": 1}
    assert len(running.asked) == 3
    with asking(lambda _: Said({"message": "busy"}, 503)) as (server, running):
        with pytest.raises(RemoteError, match=r"failed with status 503: busy \(3 attempts\)"):
            server.get("/x")
        assert len(running.asked) == 3
        with pytest.raises(RemoteError, match="failed with status 503: busy"):
            server.send("POST", "/x", {})
        assert len(running.asked) == 4


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (
            Said({"message": f"no {SECRET}\x1b[2J"}, 401),
            r"refuses the key, .* \(status 401\): no \[key\] \[2J",
        ),
        (Said({"error": "bad name"}, 400), "failed with status 400: bad name"),
        (Said(b"", 400), "failed with status 400: no reason given"),
        (Said(b"<html>", 200), "the answer is no JSON object: <html>"),
        (Said([1], 200), "the answer is no JSON object"),
        (Said(b"", 302, {"Location": "https://elsewhere"}), "redirects to https://elsewhere, which is not"),
        (Said(b"[" * 100_000), "the answer is no JSON object"),
        (Said(b" " * (16 * 2**20 + 1)), "the answer is larger than 16 MiB"),
    ],
)
def test_what_is_no_answer_is_told_in_one_line_without_the_key(said: Said, reason: str) -> None:
    with asking(lambda _: said) as (server, _), pytest.raises(RemoteError, match=reason) as told:
        server.get("/x")
    assert SECRET not in str(told.value)
    assert "\n" not in str(told.value)
    assert told.value.__cause__ is None


def test_a_server_that_is_not_there_is_told() -> None:
    with serving_json(lambda _: Said({})) as running:
        address = running.address
    with Server(address) as server, pytest.raises(RemoteError, match=r"cannot be reached .*\(3 attempts\)"):
        server.get("/x")


@pytest.mark.parametrize(
    "address", ["http://example.com", "ftp://host", "https://me:secret@host", "host", "https://host?key=1"]
)
def test_an_address_is_encrypted_and_holds_no_secret(address: str) -> None:
    with pytest.raises(RemoteError) as told:
        Server(address)
    assert "secret" not in str(told.value)


def test_an_empty_answer_is_an_empty_object() -> None:
    def answer(asked: Asked) -> Said:
        return Said(b"")

    with asking(answer) as (server, _):
        assert server.send("PATCH", "/x", {}) == {}
