import json
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.serving.http.running import running
from tests.serving.served import NUM_VIRTUAL, reply_task, save_run, soft_prompt
from tuningfork.errors import RemoteError
from tuningfork.models.frozen import FrozenModel
from tuningfork.serving.load import LoadPlan, Timing, percentiles, run_load
from tuningfork.serving.scheduler import EngineLimits


def test_a_load_is_counted_to_the_last_token(model: FrozenModel, tmp_path: Path) -> None:
    runs = {
        name: save_run(tmp_path / name, model, reply_task(tmp_path), soft_prompt(model, seed)).path
        for seed, name in enumerate(("a", "b"))
    }
    done: list[Timing] = []
    with running(model, runs=runs) as server:
        plan = LoadPlan(server.address, ["a", "b"], num_requests=7, concurrency=3, max_tokens=5)
        report = run_load(plan, on_done=done.append)
    found = report.as_json()
    assert (found["requests"], found["failed_requests"], found["tokens"]) == (7, 0, 35)
    assert sorted(timing.model for timing in done) == ["a"] * 4 + ["b"] * 3
    # All but the first of each prompt found it computed; the first ones of one prompt may come together.
    assert 0 < found["cached_tokens"] <= 5 * NUM_VIRTUAL
    assert found["tokens_per_second"] == pytest.approx(35 / report.seconds)
    for timing in report.timings:
        assert timing.first_token_seconds is not None
        assert 0 < timing.first_token_seconds <= timing.seconds <= report.seconds
    assert json.loads(json.dumps(found)) == found


def test_no_more_are_on_their_way_than_was_said(model: FrozenModel) -> None:
    most, seen, watching = 0, threading.Event(), threading.Event()
    with running(model) as server:

        def watch() -> None:
            nonlocal most
            while not watching.wait(0.001):
                status = server.engine.status
                most = max(most, status.num_present + status.num_waiting)
                seen.set()

        thread = threading.Thread(target=watch)
        thread.start()
        seen.wait(5)
        run_load(LoadPlan(server.address, ["tiny"], num_requests=8, concurrency=2, max_tokens=20))
        watching.set()
        thread.join()
    assert 1 <= most <= 2


def test_what_fails_is_counted_by_its_reason(model: FrozenModel) -> None:
    with running(model, limits=EngineLimits(max_rows=1, max_waiting=1)) as server:
        plan = LoadPlan(server.address, ["tiny", "nobody"], num_requests=4, concurrency=1, max_tokens=3)
        found = run_load(plan).as_json()
        assert (found["failed_requests"], found["failures"], found["tokens"]) == (2, {"404": 2}, 6)
        crowd = LoadPlan(server.address, ["tiny"], num_requests=12, concurrency=12, max_tokens=60)
        found = run_load(crowd).as_json()
        assert set(found["failures"]) == {"429"}
        assert found["failed_requests"] + found["tokens"] // 60 == 12


def test_where_nobody_answers_there_is_no_load() -> None:
    with pytest.raises(RemoteError, match=r"http://127.0.0.1:9/v1: nothing answers there"):
        run_load(LoadPlan("http://127.0.0.1:9", ["x"]))
    with pytest.raises(RemoteError):
        run_load(LoadPlan("ftp://x", ["x"]))


@given(st.lists(st.floats(0, 100), min_size=1, max_size=50))
def test_percentiles_are_values_that_were_seen(values: list[float]) -> None:
    found = percentiles(values)
    for share, value in zip((50, 90, 99), found.values(), strict=True):
        assert value in values
        assert sum(other <= value for other in values) >= share / 100 * len(values)
        assert sum(other < value for other in values) < share / 100 * len(values)
    assert percentiles([]) == {"p50": None, "p90": None, "p99": None}
