from pathlib import Path

import pytest

from tuningfork.cli.remote_options import remote_settings
from tuningfork.errors import RemoteError


def test_options_become_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TUNINGFORK_CACHE", str(tmp_path))
    settings = remote_settings("m", "https://api.example.com/v1", "A_KEY", max_calls=3, max_money=0.5)
    assert (settings.model, settings.url) == ("m", "https://api.example.com/v1")
    assert settings.key_variable == "A_KEY"
    assert settings.cache_folder == tmp_path / "remote"
    assert (settings.max_calls, settings.max_money) == (3, 0.5)


def test_no_key_and_no_cache() -> None:
    settings = remote_settings("m", "http://localhost:8000", None, no_cache=True)
    assert settings.key_variable is None
    assert settings.cache_folder is None


def test_insecure_must_be_asked_for() -> None:
    with pytest.raises(RemoteError, match="allow it with --allow-insecure"):
        remote_settings("m", "http://example.com", None)
    assert remote_settings("m", "http://example.com", None, allow_insecure=True).allows_insecure
