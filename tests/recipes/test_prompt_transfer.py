from pathlib import Path

import pytest
import torch

from tests.tiny_folder import save_tiny_model
from tuningfork.errors import PromptError, RunError
from tuningfork.library.run_folder import RunFolder
from tuningfork.library.run_records import TuneOptions
from tuningfork.models.artefacts import InputPrompt, KeyValuePrefix
from tuningfork.models.frozen import FrozenModel
from tuningfork.models.loading import load_model
from tuningfork.recipes.prompt_transfer import rank_sources, transferred_prompt
from tuningfork.recipes.tune import tune
from tuningfork.tasks.task import Task


def copy_with(finished: RunFolder, parent: Path, name: str, prompt: InputPrompt | KeyValuePrefix) -> Path:
    """A run like `finished` with another prompt."""
    folder = RunFolder.create(parent, name, finished.record, finished.task.model_copy(update={"name": name}))
    folder.save_prompt(finished.load_prompt()[0], prompt)
    return folder.path


def test_tuning_starts_where_the_other_run_ended(
    finished: RunFolder, tasks: dict[str, Task], options: TuneOptions, model: FrozenModel, tmp_path: Path
) -> None:
    learned = transferred_prompt(finished.path, model)
    prompt = finished.load_prompt()[1]
    assert isinstance(prompt, InputPrompt)
    assert torch.equal(learned, prompt.embeddings)
    # A rate at which nothing is learned: what comes out is the start, unless the text is kept.
    asked = options.model_copy(
        update={"start_from": str(finished.path), "learning_rates": (1e-12,), "max_steps": 1}
    )
    again = tune(tasks["classification"], asked, runs_folder=tmp_path, model=model)
    found = again.load_prompt()[1]
    assert isinstance(found, InputPrompt)
    assert torch.allclose(found.embeddings, learned, atol=1e-6)


def test_sources_are_ranked_by_the_cosine_of_their_mean_tokens(finished: RunFolder, tmp_path: Path) -> None:
    target = InputPrompt(torch.tensor([[3.0, 0.0], [1.0, 0.0]]))
    prompts: dict[str, InputPrompt | KeyValuePrefix] = {
        "far": InputPrompt(torch.tensor([[-1.0, 0.0]])),
        "near": InputPrompt(torch.tensor([[1.0, 1.0], [1.0, -0.5]])),
        "same": InputPrompt(torch.tensor([[5.0, 0.0]])),
        "other kind": KeyValuePrefix(((torch.ones(1, 2, 4), torch.ones(1, 2, 4)),)),
    }
    path = copy_with(finished, tmp_path, "target", target)
    sources = [copy_with(finished, tmp_path, name, prompt) for name, prompt in prompts.items()]
    found = rank_sources(path, [path, *sources])
    assert [similarity.task for similarity in found] == ["same", "near", "far"]
    assert found[0].of_means == pytest.approx(1.0)
    assert found[1].of_means == pytest.approx(1 / (1 + 0.25**2) ** 0.5)
    assert found[1].of_tokens == pytest.approx((2**-0.5 + 1.25**-0.5) / 2)
    assert found[2].of_means == pytest.approx(-1.0)


def test_a_run_without_virtual_tokens_in_front_is_refused(
    finished: RunFolder, model: FrozenModel, tmp_path: Path
) -> None:
    path = copy_with(
        finished, tmp_path, "prefix", KeyValuePrefix(((torch.ones(1, 2, 4), torch.ones(1, 2, 4)),))
    )
    with pytest.raises(RunError, match="only virtual tokens in front, without a head or an adapter, can"):
        transferred_prompt(path, model)
    with pytest.raises(RunError, match="no run here"):
        transferred_prompt(tmp_path / "nothing", model)


def test_a_prompt_for_another_base_is_refused(finished: RunFolder, tmp_path: Path) -> None:
    other = load_model(str(save_tiny_model(tmp_path / "other", change=0.5)))
    with pytest.raises(RunError, match=r"its prompt is for another base model than .* \(other weights\)"):
        transferred_prompt(finished.path, other)


def test_a_start_that_nothing_takes_is_refused(
    finished: RunFolder, tasks: dict[str, Task], options: TuneOptions, model: FrozenModel, tmp_path: Path
) -> None:
    for changes, message in (
        (
            {"placements": ("suffix",)},
            "no virtual tokens take the place of the text prompt with",
        ),
        (
            {"num_virtual_tokens": (3,)},
            "takes as many virtual tokens as that run has; leave --virtual-tokens",
        ),
    ):
        asked = options.model_copy(update={"start_from": str(finished.path), **changes})
        with pytest.raises(PromptError, match=message):
            tune(tasks["classification"], asked, runs_folder=tmp_path / "runs", model=model)
    assert not (tmp_path / "runs").exists()


def test_a_run_whose_start_has_changed_is_not_resumed(
    finished: RunFolder, tasks: dict[str, Task], options: TuneOptions, model: FrozenModel, tmp_path: Path
) -> None:
    source = copy_with(finished, tmp_path / "sources", "source", InputPrompt(torch.ones(2, 32)))
    asked = options.model_copy(update={"start_from": str(source), "max_steps": 1})
    folder = tune(tasks["classification"], asked, runs_folder=tmp_path / "runs", model=model)
    (folder.path / "result.json").unlink()
    RunFolder.open(source).save_prompt(finished.load_prompt()[0], InputPrompt(torch.zeros(2, 32)))
    with pytest.raises(RunError, match="changed since it began: the prompt to start from"):
        tune(tasks["classification"], asked, resume=folder, model=model)


def test_runs_that_cannot_be_read_do_not_hide_the_others(finished: RunFolder, tmp_path: Path) -> None:
    path = copy_with(finished, tmp_path, "target", InputPrompt(torch.ones(2, 4)))
    good = copy_with(finished, tmp_path, "good", InputPrompt(torch.ones(2, 4)))
    bad = copy_with(finished, tmp_path, "bad", InputPrompt(torch.ones(2, 4)))
    (bad / "prompt.safetensors").unlink()
    worse = copy_with(finished, tmp_path, "worse", InputPrompt(torch.ones(2, 4)))
    (worse / "run.json").write_text("{}", encoding="utf-8")
    assert [similarity.path for similarity in rank_sources(path, [bad, worse, good])] == [good]
