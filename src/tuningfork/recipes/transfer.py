"""Prompts in and out: PEFT adapter folders."""

from datetime import UTC, datetime
from pathlib import Path

from tuningfork.errors import FormatError
from tuningfork.library.formats.peft import export_peft, import_peft
from tuningfork.library.formats.peft_lora import save_lora
from tuningfork.library.run_folder import RunFolder
from tuningfork.library.run_records import PromptRecord, RunRecord, TuneOptions
from tuningfork.models.artefacts import AdaptedPrompt
from tuningfork.models.frozen import FrozenModel
from tuningfork.models.loading import load_model
from tuningfork.recipes.environment import describe_environment, describe_model
from tuningfork.tasks.rendering import RowRenderer
from tuningfork.tasks.task import Task, task_hash


def export_run(path: Path, output: Path, *, model: str | None = None) -> Path:
    """Write the soft prompt of the run at `path` as a PEFT adapter folder.

    PEFT runs a prompt or an adapter, not both. So a prompt with an adapter becomes two folders in `output`,
    `prompt` and `adapter`; one whose adapter stands behind the text prompt becomes `adapter` alone.

    Raises:
        FormatError: if the run chose a text prompt, or the model's layers do not fit PEFT's layout.
        RunError: if there is no such run.
    """
    folder = RunFolder.open(path)
    record, prompt = folder.load_prompt()
    if prompt is None:
        raise FormatError(f"{path}: this run chose the text prompt, and PEFT holds only soft prompts")
    base = load_model(model or folder.record.model.name)
    notes = {"base_weights_sha256": folder.record.model.weights, "method": record.method or ""}
    if sources := folder.record.sources:
        notes["learned_with"] = ", ".join(source.task for source in sources)
    if folder.record.origin != "shared":
        renderer = RowRenderer(folder.task, base.tokenizer)
        notes |= {
            "task": folder.task.name,
            "prompt_template": folder.task.prompt,
            "replaces": str(base.tokenizer.decode(renderer.prefix_ids)),
        }
    bare, target = prompt, output
    if isinstance(prompt, AdaptedPrompt):
        bare, target = prompt.prompt, output / "prompt"
    if bare.num_virtual_tokens:
        export_peft(bare, target, config=base.network.config, base_model_name=base.name, notes=notes)
    if isinstance(prompt, AdaptedPrompt):
        save_lora(prompt.update, output / "adapter", base_model_name=base.name)
    return output


def import_adapter(
    source: Path, task: Task, *, model: str, runs_folder: Path, task_id: int | None = None
) -> RunFolder:
    """Make a run of the PEFT adapter folder `source`, so that it can be used like one that was tuned here.

    Raises:
        FormatError: if the folder is no soft prompt, or does not fit the model.
        ModelError: if the model cannot be loaded.
    """
    base = load_model(model)
    prompt, settings = import_peft(source, config=base.network.config, task_id=task_id)
    base.prefix([prompt])
    renderer = RowRenderer(task, base.tokenizer)
    folder = RunFolder.create(runs_folder, f"{task.name}-imported", _imported_record(base, task), task)
    folder.save_prompt(
        PromptRecord(
            kind="soft",
            text=renderer.prefix_text,
            method=str(settings.get("peft_type", "")).lower(),
            num_tokens=prompt.num_virtual_tokens,
        ),
        prompt,
    )
    return folder


def _imported_record(model: FrozenModel, task: Task) -> RunRecord:
    return RunRecord(
        origin="import",
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        options=TuneOptions(model=model.name),
        model=describe_model(model),
        data_hash="",
        test_hash="",
        task_hash=task_hash(task),
        environment=describe_environment(),
    )
