import contextlib
import mmap
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.power_zones import power_zone
from tuningfork.data.example import Example
from tuningfork.evaluation import cost
from tuningfork.evaluation.cost import Use, measure_use, metering
from tuningfork.models.machine import peak_memory_bytes

MEGABYTE = 2**20
BURN = "import time\nwhile time.process_time() < 0.3: pass"


def take(megabytes: int) -> None:
    """Hold so much memory for a moment, taken from the system and given back to it."""
    with mmap.mmap(-1, megabytes * MEGABYTE) as block:
        for page in range(0, len(block), mmap.PAGESIZE):
            block[page] = 1


def burn(seconds: float) -> None:
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def test_time_of_the_clock_and_of_the_processor() -> None:
    with metering() as meter:
        burn(0.2)
        time.sleep(0.3)
    spent = meter.spent
    assert spent.seconds >= 0.5
    assert 0.15 <= spent.processor_seconds < spent.seconds - 0.2
    assert spent.accelerator_seconds is None


def test_child_processes_count_once_they_were_waited_for() -> None:
    with metering() as meter:
        subprocess.run([sys.executable, "-c", BURN], check=True)
    assert meter.spent.processor_seconds >= 0.25


def test_what_is_spent_is_known_at_the_end() -> None:
    with metering() as meter, pytest.raises(ValueError, match="known when the block ends"):
        _ = meter.spent
    assert meter.spent.seconds >= 0


def test_an_error_ends_the_measurement() -> None:
    with contextlib.suppress(KeyError), metering() as meter:
        burn(0.05)
        raise KeyError
    assert meter.spent.processor_seconds >= 0.04
    assert cost._PEAKS._running == []


@pytest.mark.skipif(sys.platform != "linux", reason="the mark can be set back on Linux only")
def test_memory_of_what_ran_before_does_not_count() -> None:
    take(256)
    with metering() as meter:
        take(64)
    before = peak_memory_bytes()
    with metering() as small:
        pass
    assert not meter.spent.has_earlier_peak
    assert meter.spent.peak_memory_bytes - small.spent.peak_memory_bytes > 48 * MEGABYTE
    assert before == meter.spent.peak_memory_bytes
    assert before - small.spent.peak_memory_bytes < 200 * MEGABYTE


@pytest.mark.skipif(sys.platform != "linux", reason="the mark can be set back on Linux only")
def test_an_inner_block_takes_nothing_from_the_outer_one() -> None:
    with metering() as outer:
        take(200)
        with metering() as first:
            take(20)
        with metering() as second:
            take(80)
    with metering() as nothing:
        pass
    base = nothing.spent.peak_memory_bytes
    peaks = [(meter.spent.peak_memory_bytes - base) / MEGABYTE for meter in (outer, first, second)]
    assert 180 < peaks[0] < 260
    assert 10 < peaks[1] < 60
    assert 60 < peaks[2] < 130


@pytest.mark.skipif(sys.platform != "linux", reason="the mark can be set back on Linux only")
def test_an_outer_block_sees_the_peak_of_an_inner_one() -> None:
    with metering() as outer, metering() as inner:
        take(100)
    assert outer.spent.peak_memory_bytes >= inner.spent.peak_memory_bytes


def test_a_mark_that_cannot_be_set_back_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "_CLEAR_REFERENCES", tmp_path / "missing" / "clear_refs")
    with metering() as meter:
        pass
    assert meter.spent.has_earlier_peak
    assert meter.spent.peak_memory_bytes == peak_memory_bytes()


def test_energy_is_read_where_it_can_be(tmp_path: Path) -> None:
    counter = power_zone(tmp_path, "0", "package-0", 10)
    with metering(root=tmp_path) as meter:
        counter.write_text("1500010")
    assert meter.spent.energy_joules == pytest.approx(1.5)
    with metering(root=tmp_path / "missing") as meter:
        pass
    assert meter.spent.energy_joules is None


ROWS = [Example(inputs={"text": str(index)}) for index in range(3)]


@dataclass
class Model:
    """Answers after a while; the first answer takes longest."""

    delays: tuple[float, ...]
    asked: list[str]

    def __call__(self, rows: Sequence[Example]) -> object:
        (row,) = rows
        time.sleep(self.delays[min(len(self.asked), len(self.delays) - 1)])
        self.asked.append(row.inputs["text"])
        return None


def count(example: Example) -> tuple[int, int]:
    return 10 + int(example.inputs["text"]), 2


def test_rows_are_timed_one_by_one_after_a_first_one() -> None:
    model = Model((0.5, 0.01), [])
    use = measure_use(model, ROWS, count_tokens=count, num_calls=6)
    assert model.asked == ["0", "0", "1", "2", "0", "1", "2"]
    assert use.num_calls == 6
    assert 0.01 <= use.latency_p50_seconds <= use.latency_p95_seconds < 0.5
    assert 0.01 <= use.seconds_per_call < 0.5
    assert (use.input_tokens_per_call, use.output_tokens_per_call) == (11, 2)
    assert use.tokens_per_second == pytest.approx(13 / use.seconds_per_call)
    assert use.processor_seconds_per_call < 0.1
    assert use.joules_per_call is None


def test_slow_calls_show_in_the_late_ones() -> None:
    slow_once = (0.0, *([0.002] * 8), 0.2, 0.002)
    use = measure_use(Model(slow_once, []), ROWS, count_tokens=count, num_calls=10)
    assert use.latency_p50_seconds < 0.1 < use.latency_p95_seconds


def test_no_call_is_begun_after_the_time_is_over() -> None:
    model = Model((0.06,), [])
    use = measure_use(model, ROWS, count_tokens=count, seconds=0.1)
    assert use.num_calls == 2
    assert len(model.asked) == 3
    assert measure_use(model, ROWS, count_tokens=count, seconds=0.0).num_calls == 1


def test_what_reads_no_tokens_has_none() -> None:
    use = measure_use(Model((0.001,), []), ROWS, count_tokens=None, num_calls=2)
    assert use.tokens_per_second is use.input_tokens_per_call is use.output_tokens_per_call is None


@dataclass
class FromElsewhere:
    seconds: float
    input_tokens: float
    output_tokens: float


def test_answers_that_know_their_time_and_tokens_are_believed() -> None:
    def answer(rows: Sequence[Example]) -> FromElsewhere:
        del rows
        return FromElsewhere(3.0, 100, 20)

    use = measure_use(answer, ROWS, count_tokens=count, num_calls=4)
    assert use == Use(
        num_calls=4,
        latency_p50_seconds=3.0,
        latency_p95_seconds=3.0,
        tokens_per_second=40.0,
        input_tokens_per_call=100.0,
        output_tokens_per_call=20.0,
        seconds_per_call=3.0,
        processor_seconds_per_call=use.processor_seconds_per_call,
    )

    def answer_late(rows: Sequence[Example]) -> FromElsewhere:
        time.sleep(0.05)
        return FromElsewhere(0.001, len(rows), 1)

    slow = measure_use(answer_late, ROWS, count_tokens=count, num_calls=1)
    assert slow.latency_p50_seconds >= 0.05


@pytest.mark.parametrize(("rows", "calls"), [([], 4), (ROWS, 0)])
def test_nothing_to_time(rows: list[Example], calls: int) -> None:
    with pytest.raises(ValueError, match="timing needs rows and calls"):
        measure_use(Model((0.0,), []), rows, count_tokens=count, num_calls=calls)
