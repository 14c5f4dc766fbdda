import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from tests.commands import call, invoke
from tuningfork.errors import LibraryError, ServingError


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.delenv("TUNINGFORK_KEY", raising=False)
    monkeypatch.setenv("TUNINGFORK_LIBRARY", str(tmp_path / "none"))
    return tmp_path


@contextmanager
def serving(folder: Path, *arguments: str | Path) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    """The address of a server that runs as a shell would run it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tuningfork", "serve", "--port", "0", *map(str, arguments)],
        cwd=folder,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "COLUMNS": "80"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        lines = []
        for line in process.stderr:
            lines.append(line)
            if line.startswith("Serving   "):
                yield line.split()[1], process
                break
        else:
            raise AssertionError("".join(lines))
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def test_a_run_is_served_until_the_process_is_told_to_stop(nowhere: Path, runs: Path, model: Path) -> None:
    with serving(nowhere, f"replies={runs / 'generation-1'}", "--model", model) as (address, process):
        listed = httpx2.get(f"{address}/models").json()
        assert [card["id"] for card in listed["data"]] == ["tiny", "replies"]
        body = {"model": "replies", "prompt": "Tea 3?"}
        answered = httpx2.post(f"{address}/completions", json=body, timeout=60)
        expected = invoke(nowhere, "run", runs / "generation-1", "Tea 3?", "--model", model, "--json")
        assert answered.json()["choices"][0]["text"] in expected.stdout
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) in (0, -signal.SIGTERM)


def test_a_dry_run_says_what_would_be_served(nowhere: Path, runs: Path) -> None:
    found = invoke(
        nowhere, "serve", runs / "generation-1", runs / "classification-1", "--dry-run", columns=200
    )
    assert found.code == 0, found.stderr
    assert "Model     tiny (" in found.stderr
    assert "Prompts   2: generation-1, classification-1\n" in found.stderr
    assert "Keys      none are needed" in found.stderr
    assert "Serving" not in found.stderr


def test_what_is_wrong_is_one_line(nowhere: Path, runs: Path) -> None:
    for arguments, kind, message in (
        (["nobody"], LibraryError, "there is no library here"),
        (
            [runs / "generation-1", "--host", "0.0.0.0"],
            ServingError,
            "other machines could reach this server",
        ),
    ):
        with pytest.raises(kind, match=message):
            call(nowhere, "serve", *arguments, "--dry-run")
    found = invoke(nowhere, "serve", "nobody")
    assert (found.code, found.stdout, found.stderr.count("\n")) == (1, "", 1)


def test_help_names_what_matters(nowhere: Path) -> None:
    text = invoke(nowhere, "serve", "--help", columns=200).stdout
    for word in (
        "--host",
        "--port",
        "--max-batch",
        "--queue",
        "--requests-per-minute",
        "--open",
        "--dry-run",
    ):
        assert word in text
    assert "TUNINGFORK_ADMIN_KEY" in text
