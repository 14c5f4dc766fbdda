import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from tuningfork.errors import RunError
from tuningfork.events import Notice
from tuningfork.recipes.spending import Budget, Ledger, budget_of, seconds_spent

CPU = torch.device("cpu")


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_budget_is_spent_when_no_more_than_the_reserve_is_left() -> None:
    clock = Clock()
    budget = Budget(10, spent=4, clock=clock)
    clock.now += 5
    assert not budget.is_spent()
    assert not budget.is_spent(reserve=0.9)
    assert budget.is_spent(reserve=1)
    clock.now += 1
    assert budget.is_spent()


def test_without_a_limit_nothing_is_ever_spent() -> None:
    assert not Budget(None, spent=1e12).is_spent(reserve=1e12)


def test_sessions_add_up_and_the_highest_peak_counts(tmp_path: Path) -> None:
    with Ledger(tmp_path, CPU) as ledger:
        sum(range(200_000))
    first = ledger.spent
    assert first.seconds > 0
    assert first.peak_memory_bytes > 10_000_000
    assert seconds_spent(tmp_path) == first.seconds
    stored = json.loads((tmp_path / "spent.json").read_text())
    (tmp_path / "spent.json").write_text(json.dumps({**stored, "peak_memory_bytes": 10**15}))
    with Ledger(tmp_path, CPU) as ledger:
        pass
    assert ledger.spent.seconds > first.seconds
    assert ledger.spent.processor_seconds >= first.processor_seconds
    assert ledger.spent.peak_memory_bytes == 10**15


def test_a_budget_counts_what_sessions_before_took(tmp_path: Path) -> None:
    spent = {
        "seconds": 50.0, "processor_seconds": 1.0, "accelerator_seconds": None, "energy_joules": None,
        "peak_memory_bytes": 1,
    }  # fmt: skip
    (tmp_path / "spent.json").write_text(json.dumps(spent))
    assert budget_of(50, tmp_path).is_spent()
    assert not budget_of(90, tmp_path).is_spent()
    assert not budget_of(90, tmp_path / "elsewhere").is_spent()


def test_what_a_session_could_not_measure_is_not_known_of_all(tmp_path: Path) -> None:
    spent = {
        "seconds": 50.0, "processor_seconds": 1.0, "accelerator_seconds": 3.0, "energy_joules": 7.0,
        "peak_memory_bytes": 1,
    }  # fmt: skip
    (tmp_path / "spent.json").write_text(json.dumps(spent))
    with Ledger(tmp_path, CPU) as ledger:
        pass
    assert ledger.spent.energy_joules is None
    assert ledger.spent.accelerator_seconds is None


def test_what_a_killed_process_spent_is_known_but_for_a_second(tmp_path: Path) -> None:
    program = (
        "import sys, time, torch\n"
        "from pathlib import Path\n"
        "from tuningfork.events import Notice\n"
        "from tuningfork.recipes.spending import Ledger\n"
        "with Ledger(Path(sys.argv[1]), torch.device('cpu')) as ledger:\n"
        "    while True:\n"
        "        time.sleep(0.05)\n"
        "        ledger.emit(Notice('still here'))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)])
    deadline = time.monotonic() + 60
    while not (tmp_path / "spent.json").exists():
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert seconds_spent(tmp_path) >= 1


def test_events_between_writes_cost_no_write(tmp_path: Path) -> None:
    with Ledger(tmp_path, CPU) as ledger:
        ledger.emit(Notice("at once"))
        assert not (tmp_path / "spent.json").exists()


def test_a_damaged_account_is_told(tmp_path: Path) -> None:
    (tmp_path / "spent.json").write_text("{")
    with pytest.raises(RunError, match=r"spent\.json: cannot be read .* remove it"):
        seconds_spent(tmp_path)


def test_a_peak_that_may_be_older_stays_one_over_sessions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("tuningfork.evaluation.cost._reset_peak", lambda _: False)
        with Ledger(tmp_path, CPU) as first:
            pass
    assert first.spent.has_earlier_peak
    with Ledger(tmp_path, CPU) as second:
        pass
    assert second.spent.has_earlier_peak
