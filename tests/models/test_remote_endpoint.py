from pathlib import Path
from typing import Any

import pytest

from tuningfork.errors import RemoteError
from tuningfork.models.remote_endpoint import RemoteSettings, default_cache_folder


def settings(base_url: str = "https://api.example.com/v1", **changes: Any) -> RemoteSettings:
    return RemoteSettings(base_url, "small", **changes)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("https://api.example.com/v1/", "https://api.example.com/v1"),
        ("https://api.example.com", "https://api.example.com/v1"),
        ("https://example.com/openai/v2", "https://example.com/openai/v2"),
        (" http://127.0.0.1:8000 ", "http://127.0.0.1:8000/v1"),
    ],
)
def test_v1_is_added_where_there_is_no_path(given: str, expected: str) -> None:
    assert settings(given).url == expected


@pytest.mark.parametrize("given", ["http://localhost:8000/v1", "http://127.8.9.1/v1", "http://[::1]:80/v1"])
def test_plain_http_is_fine_on_this_machine(given: str) -> None:
    assert settings(given).is_loopback


@pytest.mark.parametrize(
    "given", ["http://api.example.com/v1", "http://localhost.example.com", "http://10.0.0.1"]
)
def test_plain_http_over_a_network_must_be_allowed(given: str) -> None:
    with pytest.raises(RemoteError, match="would send prompts and key unencrypted: use https://"):
        settings(given)
    assert not settings(given, allows_insecure=True).is_loopback


@pytest.mark.parametrize(
    "given", ["ftp://example.com", "example.com/v1", "file:///etc/passwd", "https://", ""]
)
def test_an_address_is_http_and_names_a_host(given: str) -> None:
    with pytest.raises(RemoteError, match="must begin with https://"):
        settings(given)


@pytest.mark.parametrize(
    "given", ["https://example.com:port/v1", "https://[::1/v1", "https://example.com:99999"]
)
def test_an_address_that_cannot_be_read(given: str) -> None:
    with pytest.raises(RemoteError, match="the address of the API cannot be read"):
        settings(given)


@pytest.mark.parametrize(
    "given",
    [
        "https://me:hunter2@example.com/v1",
        "https://example.com/v1?key=hunter2",
        "https://example.com/#hunter2",
    ],
)
def test_secrets_in_an_address_are_refused_and_not_repeated(given: str) -> None:
    with pytest.raises(RemoteError, match="must hold no name, password, query") as refused:
        settings(given)
    assert "hunter2" not in str(refused.value)


def test_a_key_in_place_of_its_variable_is_refused_and_not_repeated() -> None:
    with pytest.raises(RemoteError, match="given by the NAME of an environment variable") as refused:
        settings(key_variable="sk-hunter2")
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    "changes",
    [{"timeout_seconds": 0}, {"deadline_seconds": -1.0}, {"max_attempts": 0}, {"concurrency": 0}],
)
def test_limits_are_above_zero(changes: dict[str, Any]) -> None:
    with pytest.raises(RemoteError, match=f"{next(iter(changes))}: expected a number above 0"):
        settings(**changes)


def test_a_model_has_a_name() -> None:
    with pytest.raises(RemoteError, match="needs a name"):
        RemoteSettings("https://example.com", " ")


def test_the_key_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_KEY", " sk-1/2+3=\n")
    assert settings(key_variable="A_KEY").read_key() == "sk-1/2+3="
    assert settings(key_variable="A_KEY").why_no_key is None
    assert settings().read_key() is None


def test_a_missing_key_says_which_variable_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_KEY", "  ")
    assert settings(key_variable="A_KEY").why_no_key == "the environment variable A_KEY holds no key"
    with pytest.raises(RemoteError, match=r"A_KEY holds no key; set it: export A_KEY=\.\.\."):
        settings(key_variable="A_KEY").read_key()


@pytest.mark.parametrize("value", ["sk hunter2", "sk-\nhunter2", "hunter2-ü", 'hunter2"', "hunter2\\"])
def test_what_cannot_be_a_key_is_not_repeated(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("A_KEY", value)
    with pytest.raises(RemoteError, match="A_KEY holds something that cannot be a key") as refused:
        settings(key_variable="A_KEY").read_key()
    assert "hunter2" not in str(refused.value)


def test_the_cache_can_be_moved(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TUNINGFORK_CACHE", str(tmp_path))
    assert default_cache_folder() == tmp_path / "remote"
    monkeypatch.delenv("TUNINGFORK_CACHE")
    assert default_cache_folder().parts[-3:] == (".cache", "tuningfork", "remote")
