import json
from pathlib import Path

import pytest

from tests.commands import call, invoke
from tests.serving.http.running import running
from tests.serving.served import small_model
from tuningfork.errors import RemoteError


def test_a_server_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TUNINGFORK_KEY", raising=False)
    with running(small_model()) as server:
        asked = ("bench", server.address, "--requests", "3", "--concurrency", "2", "--max-tokens", "4")
        found = json.loads(invoke(tmp_path, *asked, "--json").stdout)
        assert (found["requests"], found["failed_requests"], found["tokens"]) == (3, 0, 12)
        table = invoke(tmp_path, *asked, columns=120)
        assert table.code == 0
        assert "3 of 3 answers in" in table.stdout
        assert "first token" in table.stdout
        failed = invoke(tmp_path, *asked, "--model", "nobody", columns=120)
        assert failed.code == 1
        assert "Failed    3 times: 404" in failed.stdout
    with pytest.raises(RemoteError, match="cannot be reached"):
        call(tmp_path, "bench", "http://127.0.0.1:9/v1")
