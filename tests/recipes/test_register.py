import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.recipes.test_open_version import KINDS, run_of
from tuningfork import __version__
from tuningfork.errors import LibraryError, RunError
from tuningfork.library.canonical import hash_bytes
from tuningfork.library.contents import Figure
from tuningfork.library.exchange.foreign import check_content
from tuningfork.library.run_folder import RunFolder
from tuningfork.library.store import Library
from tuningfork.models.frozen import FrozenModel
from tuningfork.recipes.register import (
    figures_of,
    register_run,
    register_text,
    version_of_run,
)
from tuningfork.tasks.task import Task
from tuningfork.tasks.variables import VariableSpec


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    with Library(tmp_path / "library") as opened:
        yield opened


def changed(finished: RunFolder, folder: Path, **fields: object) -> RunFolder:
    """A copy of the run in `folder` whose record is another in `fields`."""
    copy = Path(shutil.copytree(finished.path, folder))
    record = json.loads((copy / "run.json").read_text(encoding="utf-8"))
    (copy / "run.json").write_text(json.dumps(record | fields), encoding="utf-8")
    return RunFolder.open(copy)


def test_a_run_becomes_a_version_with_all_that_is_known_of_it(finished: RunFolder, library: Library) -> None:
    made = register_run(library, finished.path, author="ann", note="first", description="Which queue.")
    record = finished.record
    assert (made.reference, made.author, made.note) == ("classification@1", "ann", "first")
    content, lineage = made.content, made.lineage
    assert (content.kind, content.text) == ("soft", finished.task.prompt)
    assert (content.contract.task_type, content.contract.variables) == ("classification", ("message",))
    assert set(content.contract.labels) == {"billing", "tech_team"}
    assert (lineage.origin, lineage.run) == ("tune", str(finished.path.resolve()))
    assert (lineage.data_hash, lineage.test_hash) == (record.data_hash, record.test_hash)
    assert lineage.task_hash == record.task_hash
    assert lineage.base_weights == record.model.weights != ""
    assert lineage.base_tokenizer == record.model.tokenizer != ""
    assert lineage.base_chat_template == record.model.chat_template != ""
    assert lineage.config["learning_rates"] == [0.1]
    assert lineage.code_version.startswith(record.environment["tuningfork"])
    assert library.page("classification").description == "Which queue."


def test_its_files_are_the_runs_own_bytes_without_its_rows(finished: RunFolder, library: Library) -> None:
    made = register_run(library, finished.path, author="ann")
    files = dict(library.files(made))
    assert set(files) == {"task.yaml", "run.json", "prompt.json", "prompt.safetensors"}
    assert files["prompt.safetensors"] == finished.prompt_path.read_bytes()
    task = files["task.yaml"].decode()
    assert finished.task.data.train not in task
    assert Path(finished.task.data.train).name not in task


def test_the_same_prompt_has_the_same_content_whenever_and_wherever_it_was_made(
    finished: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = changed(finished, tmp_path / "elsewhere" / "run", created="2001-01-01", environment={})
    first = version_of_run(finished)
    monkeypatch.chdir(tmp_path)
    second = version_of_run(again)
    assert first.content == second.content
    assert first.lineage != second.lineage
    tensors = first.files["prompt.safetensors"]
    assert first.content.files["prompt.safetensors"] == hash_bytes(tensors)


def test_registering_again_is_no_other_version(finished: RunFolder, library: Library) -> None:
    first = register_run(library, finished.path, author="ann")
    assert register_run(library, finished.path, author="ann") == first


def test_a_version_that_is_registered_elsewhere_keeps_its_content(
    finished: RunFolder, library: Library, tmp_path: Path
) -> None:
    made = register_run(library, finished.path, author="ann")
    out = tmp_path / "out"
    library.check_out(made, out)
    (out / "result.json").write_bytes((finished.path / "result.json").read_bytes())
    assert version_of_run(RunFolder.open(out)).content == made.content


def test_figures_are_those_of_the_run_with_its_answer_first(finished: RunFolder) -> None:
    figures = {figure.name: figure for figure in figures_of(finished.result)}
    result = finished.result
    tuned = next(way for way in result.ways if way.name == result.answer)
    text = next(way for way in result.ways if way.name == "text prompt")
    assert next(iter(figures)) == "accuracy"
    assert figures["accuracy"] == Figure(
        name="accuracy", value=tuned.score, low=tuned.low, high=tuned.high, num_rows=tuned.num_rows
    )
    assert figures["accuracy of text prompt"].value == text.score
    assert figures["log_loss"].value == tuned.log_loss
    difference = figures["accuracy minus text prompt"]
    verdict = result.verdict
    assert (difference.value, difference.low, difference.high) == (
        verdict.difference,
        verdict.low,
        verdict.high,
    )


def test_names_of_tasks_become_names_of_prompts(
    finished: RunFolder, library: Library, tasks: dict[str, Task]
) -> None:
    assert register_run(library, finished.path, author="ann", name="shop/tickets").prompt == "shop/tickets"
    task = tasks["classification"].model_copy(update={"name": "Shop/Größe & Co."})
    assert register_text(library, task, author="ann").prompt == "shop/grosse-co"


def test_words_are_a_version_without_a_run(library: Library, tasks: dict[str, Task]) -> None:
    task = tasks["generation"]
    made = register_text(library, task, author="ann", model="tiny")
    assert (made.content.kind, made.content.text) == ("text", task.prompt)
    assert (made.lineage.origin, made.lineage.base_model, made.lineage.base_weights) == ("text", "tiny", "")
    assert made.lineage.code_version == __version__
    assert register_text(library, task, author="ann", model="tiny") == made


def test_the_parent_is_the_newest_version_with_the_words_that_tuning_began_with(
    finished: RunFolder, library: Library
) -> None:
    assert register_run(library, finished.path, author="ann", name="alone").parent is None
    other = finished.task.model_copy(update={"prompt": "Other words. {{message}}"})
    register_text(library, finished.task, author="ann", name="shop/tickets")
    register_text(library, other, author="ann", name="shop/tickets")
    made = register_run(library, finished.path, author="ann", name="shop/tickets")
    assert (made.number, made.parent) == (3, 1)


def test_a_run_that_began_with_a_versions_virtual_tokens_has_it_as_parent(
    finished: RunFolder, library: Library, tmp_path: Path
) -> None:
    first = register_run(library, finished.path, author="ann", name="shop/tickets")
    register_text(library, finished.task, author="ann", name="shop/tickets")
    options = finished.record.options.model_copy(update={"start_from": str(finished.path)})
    started = changed(
        finished, tmp_path / "run", options=options.model_dump(mode="json"), start_hash="5" * 64
    )
    made = register_run(library, started.path, author="ann", name="shop/tickets")
    assert made.parent == first.number
    assert made.lineage.sources == ("5" * 64,)
    gone = options.model_copy(update={"start_from": str(tmp_path / "gone")}).model_dump(mode="json")
    orphan = changed(finished, tmp_path / "orphan", options=gone)
    assert register_run(library, orphan.path, author="ann", name="shop/tickets").parent is None


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_and_their_files(kind: str, finished: RunFolder, model: FrozenModel, tmp_path: Path) -> None:
    prepared = version_of_run(run_of(kind, finished, model, tmp_path / "run"))
    assert prepared.content.kind == kind
    has_adapter = {"adapter/adapter_config.json", "adapter/adapter_model.safetensors"} <= set(prepared.files)
    assert has_adapter == (kind in ("adapter", "hybrid"))
    assert ("prompt.safetensors" in prepared.files) == (kind != "text")


def test_what_is_not_finished_is_not_registered(
    finished: RunFolder, library: Library, tmp_path: Path
) -> None:
    half = changed(finished, tmp_path / "half")
    (half.path / "result.json").unlink()
    with pytest.raises(RunError, match="this run is not finished; go on with: tuningfork tune --resume"):
        register_run(library, half.path, author="ann")
    shared = changed(finished, tmp_path / "shared", origin="shared")
    with pytest.raises(RunError, match="holds what several tasks share"):
        register_run(library, shared.path, author="ann")
    with pytest.raises(RunError, match="no run here"):
        register_run(library, tmp_path / "nowhere", author="ann")
    with pytest.raises(LibraryError, match="a prompt's name has small letters"):
        register_run(library, finished.path, author="ann", name="Shop")
    assert library.prompts() == []


def test_an_imported_run_has_no_figures(finished: RunFolder, tmp_path: Path) -> None:
    imported = changed(finished, tmp_path / "run", origin="import", data_hash="", test_hash="")
    (imported.path / "result.json").unlink()
    prepared = version_of_run(imported)
    assert (prepared.lineage.origin, prepared.lineage.figures) == ("import", ())


def test_a_composed_run_names_its_parts(finished: RunFolder, tmp_path: Path) -> None:
    parts = [{"run": f"runs/{letter}", "sha256": letter * 64, "task_hash": "k"} for letter in "ab"]
    composed = changed(
        finished, tmp_path / "run", origin="compose", composition={"how": "average", "parts": parts}
    )
    assert version_of_run(composed).lineage.sources == ("a" * 64, "b" * 64)


def test_files_of_several_prompts_that_answer_together(
    finished: RunFolder, model: FrozenModel, tmp_path: Path
) -> None:
    prepared = version_of_run(run_of("several", finished, model, tmp_path / "run"))
    tensors = {"prompt.safetensors", "prompt-2.safetensors", "prompt-3.safetensors"}
    assert tensors <= set(prepared.files)
    assert prepared.content.kind == "soft"


def test_a_contract_says_what_variables_may_be_and_in_which_language(
    library: Library, tasks: dict[str, Task]
) -> None:
    plain = register_text(library, tasks["generation"], author="ann").content.contract
    assert (plain.template_language, plain.variable_types) == ("simple", {})
    task = tasks["generation"].model_copy(
        update={
            "prompt": "Reply to {{ message|upper }}",
            "template_language": "jinja2",
            "variables": {"message": VariableSpec(max_length=200, default="nothing")},
        }
    )
    made = register_text(library, task, author="ann", name="typed").content
    assert (made.text, made.contract.template_language) == ("Reply to {{ message|upper }}", "jinja2")
    assert made.contract.variables == ("message",)
    assert made.contract.variable_types == {"message": {"max_length": 200, "default": "nothing"}}
    check_content(made)
