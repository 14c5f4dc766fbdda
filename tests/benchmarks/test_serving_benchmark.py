import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest
import torch

from benchmarks import serving
from benchmarks.serving import (
    LARGEST_LOGIT_DIFFERENCE,
    WAYS,
    Asked,
    Load,
    Outcome,
    answer_concurrently,
    compare,
    figures,
    parse_arguments,
    prompts_of,
    requests_of,
    table,
)
from benchmarks.step import build_network, build_tokenizer
from tuningfork.models.frozen import FrozenModel
from tuningfork.models.slots import RowSlots

TINY: dict[str, Any] = {
    "vocab_size": 101,
    "hidden_size": 36,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    # Weights this large make attention depend on positions.
    "initializer_range": 0.3,
}
LOAD = Load(3, 9, 4, num_virtual_tokens=120, num_tokens=8, num_answered=5, num_timed_firsts=2)
pytestmark = pytest.mark.filterwarnings("ignore:Position ids are not supported:UserWarning")


def compare_tiny() -> tuple[dict[str, Outcome], dict[str, float]]:
    return compare(build_network(**TINY), LOAD, torch.float32)


def test_every_way_gives_the_same_answers() -> None:
    outcomes, measured = compare_tiny()
    assert list(outcomes) == list(WAYS)
    ours = outcomes["ours"].answers
    assert [len(answer) for answer in ours] == [5] * 9
    assert all(outcome.answers == ours for outcome in outcomes.values())
    assert len(set(ours)) == 9
    assert measured["failed_requests"] == measured["answers_unlike_peft"] == 0
    assert 0 < measured["max_logit_difference"] <= LARGEST_LOGIT_DIFFERENCE
    found = figures(outcomes, measured)
    expected = outcomes["ours"].tokens_per_second / outcomes["peft_batched"].tokens_per_second
    assert found["ratio_peft_batched"] == pytest.approx(expected, rel=1e-3)
    assert set(found) >= {
        "ratio_peft_switching",
        "ratio_peft_batched",
        "ttft_overhead",
        "max_logit_difference",
        "failed_requests",
    }
    assert all(way in table(outcomes) for way in WAYS.values())
    json.dumps(found)


def test_a_wrong_position_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    past = RowSlots.past
    monkeypatch.setattr(RowSlots, "past", lambda self, device: past(self, device) - 1)
    _, measured = compare_tiny()
    assert measured["max_logit_difference"] > 1e-2
    assert measured["answers_unlike_peft"] > 0


def test_a_request_that_fails_is_counted(capsys: pytest.CaptureFixture[str]) -> None:
    async def ask(asked: Asked) -> Any:
        raise RuntimeError("lost")

    outcome = asyncio.run(answer_concurrently(ask, [Asked(0, (5,), 3)] * 4, 2))
    assert outcome.answers == [()] * 4
    assert capsys.readouterr().err.count("failed: lost") == 4


def test_the_same_rows_are_asked_each_time() -> None:
    model = FrozenModel(build_network(**TINY), build_tokenizer(), name="tiny")
    requests = requests_of(LOAD, model.vocabulary_size)
    assert requests == requests_of(LOAD, model.vocabulary_size)
    assert [asked.prompt for asked in requests] == [0, 1, 2] * 3
    prompts = prompts_of(LOAD, model)
    assert [tuple(one.shape) for one in prompts] == [(120, 36)] * 3


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], Load()),
        (["--quick"], Load(2, 8, 8, num_answered=16, num_timed_firsts=7)),
        (["--quick", "--prompts", "4"], Load(4, 8, 8, num_answered=16, num_timed_firsts=7)),
    ],
)
def test_the_command_line_says_how_much_is_asked(words: Sequence[str], expected: Load) -> None:
    assert parse_arguments(words).load == expected
    with pytest.raises(SystemExit):
        parse_arguments([*words, "--clients", "0"])


def test_the_last_line_is_json(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(serving, "build_network", lambda: build_network(**TINY))
    monkeypatch.setattr(
        "sys.argv", ["serving.py", "--quick", "--requests", "3", "--prompts", "2", "--answered", "3"]
    )
    assert serving.main() == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["failed_requests"] == 0
    assert (found["requests"], found["prompts"]) == (3, 2)
