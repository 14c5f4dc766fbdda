"""langchain-openai, litellm and lm-evaluation-harness, unchanged, against a real server with a tiny model.

They need packages that clash with ours or are large, so they run in an environment of their own, which
TUNINGFORK_CLIENTS names by its interpreter.
"""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.serving.http.running import Running, running
from tests.serving.scripted_engine import tokens_of
from tests.serving.served import NUM_VIRTUAL
from tuningfork.library.run_folder import RunFolder
from tuningfork.models.frozen import FrozenModel
from tuningfork.recipes.loaded_run import LoadedRun

CALLS = Path(__file__).with_name("client_calls.py")
INTERPRETER = os.environ.get("TUNINGFORK_CLIENTS", "")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(model: FrozenModel, runs: dict[str, Path]) -> Iterator[Running]:
    with running(model, runs=runs) as found:
        yield found


def called(what: str, package: str, server: Running, folder: Path) -> Any:
    """What a client got, as it says in JSON."""
    if not INTERPRETER:
        pytest.skip("TUNINGFORK_CLIENTS names no interpreter that has the clients")
    has_it = subprocess.run([INTERPRETER, "-c", f"import {package}"], capture_output=True, check=False)
    if has_it.returncode:
        pytest.skip(f"{INTERPRETER} has no package {package}")
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    done = subprocess.run(
        [INTERPRETER, str(CALLS), what, server.address, str(folder)],
        capture_output=True,
        text=True,
        timeout=250,
        env=environment,
        cwd=folder,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.strip().splitlines()[-1])


def predicted(model: FrozenModel, runs: dict[str, Path], text: str) -> str:
    return LoadedRun(RunFolder.open(runs["replies"]), model).answer(text).text


def test_langchain_gets_what_it_needs(
    server: Running, model: FrozenModel, runs: dict[str, Path], tmp_path: Path
) -> None:
    found = called("langchain", "langchain_openai", server, tmp_path)
    expected = predicted(model, runs, "tea?")
    assert found["whole"] == found["streamed"] == found["text"] == expected
    assert found["batch"] == [expected, predicted(model, runs, "milk?"), expected]
    assert found["usage"]["input_tokens"] > NUM_VIRTUAL
    assert found["model"] == "replies"
    assert found["order"]["drink"] in ("tea", "milk")
    assert found["logprobs"] == 3
    assert "nothing of this name is served" in found["error"]


def test_litellm_gets_what_it_needs(
    server: Running, model: FrozenModel, runs: dict[str, Path], tmp_path: Path
) -> None:
    found = called("litellm", "litellm", server, tmp_path)
    expected = predicted(model, runs, "tea?")
    assert found["whole"] == found["streamed"] == found["text"] == expected
    assert found["finish_reason"] in ("stop", "length")
    assert found["several"] == 2
    assert found["order"]["drink"] in ("tea", "milk")
    assert found["errors"] == ["NotFoundError", "ContextWindowExceededError"]


def test_the_harness_scores_prompts_as_the_model_does(
    server: Running, model: FrozenModel, runs: dict[str, Path], tmp_path: Path
) -> None:
    model.tokenizer.save_pretrained(tmp_path)
    found = called("lm_eval", "lm_eval", server, tmp_path)
    for name in ("tiny", "replies", "words"):
        prefix = model.prefix([])
        if name != "tiny":
            prefix = LoadedRun(RunFolder.open(runs[name]), model).members[0].prefix
        scored = found[name]["loglikelihood"]
        for (question, answer), (value, is_greedy) in zip(
            (("Tea?", " yes"), ("Tea?", " no, milk"), ("A", "b")), scored, strict=True
        ):
            before, row = len(tokens_of(question)), tokens_of(question + answer)
            with torch.no_grad():
                logits = model.logits([row], prefix, [range(before - 1, len(row) - 1)]).log_softmax(dim=-1)
            expected = logits[range(len(row) - before), row[before:]].sum()
            assert value == pytest.approx(float(expected), abs=1e-3)
            assert is_greedy == bool((logits.argmax(-1) == torch.tensor(row[before:])).all())
    assert found["tiny"]["loglikelihood"] != found["replies"]["loglikelihood"]
