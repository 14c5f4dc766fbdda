"""A prompt for a model behind an API, served from this machine."""

from pathlib import Path
from typing import Any

import pytest

from tests.recipes.text_searches import search_options
from tests.scripted_server import KEY, KEY_VARIABLE, Asked, Reply, chat_reply, failure, serving
from tuningfork.errors import PromptError, RemoteError
from tuningfork.library.comparison_folder import RemoteOptions
from tuningfork.library.optimization_folder import OptimizationFolder, OptimizationOptions
from tuningfork.recipes.optimize import optimize
from tuningfork.tasks.task import Task, load_task

PRICES = "models:\n  far-1:\n    input_per_million_tokens: 1000\n    output_per_million_tokens: 2000\n"
A_CALL = (7 * 1000 + 3 * 2000) / 1e6


@pytest.fixture(autouse=True)
def _key_and_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    monkeypatch.setenv("TUNINGFORK_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def task(tasks: dict[str, Task]) -> Task:
    return tasks["classification"]


def options_for(base_url: str, tmp_path: Path, **changes: Any) -> OptimizationOptions:
    (tmp_path / "prices.yaml").write_text(PRICES)
    remote = RemoteOptions(model="far-1", base_url=base_url, key_variable=KEY_VARIABLE)
    return search_options(
        "x", **({"remote": remote, "prices": str(tmp_path / "prices.yaml"), "budget_calls": 60} | changes)
    )


def right_if_shown(asked: Asked) -> Reply:
    """Right once it is shown how, and else always the same."""
    rows = asked.last_turn.split("\n\nAnswer with exactly one")[0]
    shown, _, last = rows.rpartition("\n\n")
    right = "tech team" if "crash" in last else "billing"
    return chat_reply(right if shown.count("Queue: ") > 1 else "billing")


def test_words_are_found_for_a_model_that_only_answers(task: Task, tmp_path: Path) -> None:
    with serving(right_if_shown) as server:
        options = options_for(server.base_url, tmp_path, budget_calls=110)
        folder = optimize(task, options, runs_folder=tmp_path / "runs")
    result = folder.result
    assert not folder.is_run
    assert not result.is_hand_written
    assert (result.hand_written.score, result.optimized.score) == (0.5, 1.0)
    assert result.model == "far-1"
    assert "Queue: billing" in load_task(folder.task_path).prompt
    assert result.finalists[0].validation_log_loss is None
    assert not any(KEY.encode() in p.read_bytes() for p in folder.path.rglob("*") if p.is_file())


@pytest.mark.slow
def test_money_is_never_exceeded_and_kept_for_the_choice(task: Task, tmp_path: Path) -> None:
    limit = 11.0
    with serving(right_if_shown) as server:
        options = options_for(server.base_url, tmp_path, budget_money=limit, budget_calls=2000)
        folder = optimize(task, options, runs_folder=tmp_path / "runs")
        paid = len(server.asked) * A_CALL
    assert folder.result.spent.ended_by == "money"
    assert folder.result.spent.money <= paid <= limit


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (failure(429, "slow down", retry_after="0"), "too many calls"),
        (Reply("<html>"), "web page"),
        (Reply('{"choices": ['), "not a JSON object"),
        (Reply(early=True, text='{"a": 1}'), "closed the connection"),
        (failure(401, "who?"), "refused the key"),
    ],
)
def test_a_failing_server_leaves_a_search_that_goes_on(
    task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reply: Reply, says: str
) -> None:
    monkeypatch.setattr("tuningfork.models.remote_transport._LONGEST_WAIT_SECONDS", 0.001)
    with serving(right_if_shown) as server:
        options = options_for(server.base_url, tmp_path)
        whole = optimize(task, options, runs_folder=tmp_path / "whole")
        num_asked = len(server.asked)
    monkeypatch.setenv("TUNINGFORK_CACHE", str(tmp_path / "other"))
    with serving() as server:
        options = options_for(server.base_url, tmp_path)

        def break_down(asked: Asked) -> Reply:
            return reply if len(server.asked) > num_asked // 2 else right_if_shown(asked)

        server.answer = break_down
        with pytest.raises(RemoteError, match=says) as error:
            optimize(task, options, runs_folder=tmp_path / "failed")
        (path,) = (tmp_path / "failed").glob("*-optimized-1")
        assert str(error.value).endswith(
            f"what was scored is kept, go on with: tuningfork optimize --resume {path}"
        )
        assert "\n" not in str(error.value)
        server.answer = right_if_shown
        folder = OptimizationFolder.open(path)
        resumed = optimize(folder.start, folder.plan.options, resume=folder)
    left_out = {"seconds", "spent", "test_reads"}
    assert resumed.result.model_dump(exclude=left_out) == whole.result.model_dump(exclude=left_out)


def test_instructions_come_from_another_model(task: Task, tmp_path: Path) -> None:
    def either(asked: Asked) -> Reply:
        if asked.body["model"] == "writer":
            return chat_reply(f"<instruction>Magic {asked.body['seed'] % 1000}.</instruction>")
        right = "tech team" if "crash" in asked.last_turn else "billing"
        return chat_reply(right if "Magic" in asked.last_turn else "nothing of use")

    with serving(either) as server:
        options = options_for(
            server.base_url,
            tmp_path,
            strategies=("edits",),
            proposer="endpoint",
            proposer_remote=RemoteOptions(model="writer", base_url=server.base_url),
        )
        folder = optimize(task, options, runs_folder=tmp_path / "runs")
    assert folder.result.prompt.startswith("Magic ")
    assert (folder.result.hand_written.score, folder.result.optimized.score) == (0.0, 1.0)


def test_soft_prompts_and_the_local_model_as_a_writer_are_refused(task: Task, tmp_path: Path) -> None:
    soft = task.model_copy(update={"prompt": "{{soft:4}}" + task.prompt})
    with serving() as server:
        with pytest.raises(PromptError, match="soft prompts are embeddings, which need the weights"):
            optimize(soft, options_for(server.base_url, tmp_path), runs_folder=tmp_path / "runs")
        with pytest.raises(PromptError, match="far-1 is behind an address: use endpoint"):
            optimize(
                task, options_for(server.base_url, tmp_path, proposer="model"), runs_folder=tmp_path / "runs"
            )
    assert not (tmp_path / "runs").exists()
