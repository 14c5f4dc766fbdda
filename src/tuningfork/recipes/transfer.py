"""Prompts in and out: folders and files of other libraries."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from tuningfork.errors import FormatError, ModelError
from tuningfork.library.formats.caikit import export_caikit, import_caikit
from tuningfork.library.formats.detection import Format, find_format
from tuningfork.library.formats.imported import Imported
from tuningfork.library.formats.npy import export_npy, import_npy
from tuningfork.library.formats.peft_config import PEFT_TYPES
from tuningfork.library.formats.peft_lora import save_lora
from tuningfork.library.formats.peft_read import BASE_WEIGHTS, import_peft
from tuningfork.library.formats.peft_readme import WORDS_FOR_ENCODER
from tuningfork.library.formats.peft_write import export_peft
from tuningfork.library.formats.tensor_files import shown
from tuningfork.library.run_folder import RunFolder
from tuningfork.library.run_records import ModelRecord, PromptRecord, RunRecord, TuneOptions
from tuningfork.models.architecture import Architecture
from tuningfork.models.artefacts import (
    AdaptedPrompt,
    EncoderDecoderPrompt,
    HeadedPrefix,
    InputPrompt,
    KeyValuePrefix,
    PlacedPrompt,
    SoftPrompt,
)
from tuningfork.models.frozen import FrozenModel
from tuningfork.models.loading import load_model, model_folder
from tuningfork.recipes.arrangement import arrange, row_format
from tuningfork.recipes.environment import describe_environment, describe_model, identity_of
from tuningfork.tasks.rendering import RowRenderer
from tuningfork.tasks.tagging import renderer_for
from tuningfork.tasks.task import Task, task_hash
from tuningfork.tuning.soft.defaults import Placement

_PROMPT_HALF, _ADAPTER_HALF = "prompt", "adapter"
"""Folders that a prompt with an adapter is written to, as PEFT runs one or the other."""
_NAMES: dict[Format, str] = {"peft": "PEFT", "npy": "a NumPy file", "caikit": "caikit"}


@dataclass(frozen=True, slots=True)
class ImportedRun:
    """A run that was made of a prompt from elsewhere."""

    folder: RunFolder
    format: Format
    origin: dict[str, str]
    num_virtual_tokens: int
    warnings: tuple[str, ...]
    """What the user should know of the prompt, a sentence each."""


def export_run(
    path: Path,
    output: Path,
    *,
    model: str | None = None,
    format: Format = "peft",
    peft_type: str | None = None,
) -> Path:
    """Write the soft prompt of the run at `path` for another library.

    Args:
        path: the run.
        output: the folder of an adapter (peft), the file (npy) or the folder of `.pt` files (caikit).
        model: where the base model lies now, if it has moved.
        format: whose.
        peft_type: as which of PEFT's types; None takes the one that needs nothing but the prompt.

    PEFT runs a prompt or an adapter, not both. So a prompt with an adapter becomes two folders in `output`,
    `prompt` and `adapter`; one whose adapter stands behind the text prompt becomes `adapter` alone.

    Raises:
        FormatError: if the run chose a text prompt, the format does not hold its prompt, or the model's
            layers do not fit PEFT's layout.
        ModelError: if the base model is not the one that the run is for.
        RunError: if there is no such run.
    """
    folder = RunFolder.open(path)
    record, prompt = _soft_prompt(folder, format)
    _check_peft_type(format, peft_type)
    if folder.record.origin != "shared":
        _check_task(folder.task)
    if format == "npy":
        return export_npy(_virtual_tokens(path, prompt), output)
    if format == "caikit":
        held = prompt if isinstance(prompt, EncoderDecoderPrompt) else _virtual_tokens(path, prompt, format)
        return export_caikit(held, output, architecture=_architecture(folder.record.model))
    base = load_model(model or folder.record.model.name)
    _check_words(path, base, prompt)
    if changed := identity_of(folder.record.model).differences(base.identity()):
        raise ModelError(
            f"{base.name}: not the base model that {path} was tuned for (other {', '.join(changed)}); "
            "name the right one with --model"
        )
    bare, target = prompt, output
    if isinstance(prompt, AdaptedPrompt):
        bare, target = prompt.prompt, output / _PROMPT_HALF
    if bare.num_virtual_tokens:
        export_peft(
            bare,
            target,
            config=base.network.config,
            base_model_name=base.name,
            notes=_notes(folder, record, bare, base),
            peft_type=peft_type,
            parts=folder.load_parts(),
        )
    if isinstance(prompt, AdaptedPrompt):
        save_lora(prompt.update, output / _ADAPTER_HALF, base_model_name=base.name)
    return output


def _notes(folder: RunFolder, record: PromptRecord, prompt: SoftPrompt, base: FrozenModel) -> dict[str, str]:
    """What a reader of the folder should know of the prompt."""
    notes = {BASE_WEIGHTS: folder.record.model.weights, "method": record.method or ""}
    if sources := folder.record.sources:
        notes["learned_with"] = ", ".join(source.task for source in sources)
    if folder.record.origin == "shared":
        return notes
    task = folder.task
    return notes | {
        "task": task.name,
        "prompt_template": task.prompt,
        **_noted_words(prompt, base, task),
    }


def import_prompt(
    source: Path,
    task: Task,
    *,
    model: str,
    runs_folder: Path,
    format: Format | None = None,
    task_index: int | None = None,
) -> ImportedRun:
    """Make a run of the prompt at `source`, so that it can be used like one that was tuned here.

    Args:
        source: a folder or a file of another library.
        task: how rows are written.
        model: the base model to run it on.
        runs_folder: where the run is made.
        format: which it is in; None finds out.
        task_index: which prompt to take, where there are several.

    Raises:
        FormatError: if there is no soft prompt, it is broken, or it does not fit the model or the task.
        ModelError: if the model cannot be loaded.
    """
    found = format or find_format(source)
    if task_index is not None and found != "peft":
        raise FormatError(f"{source}: {_NAMES[found]} holds one prompt; leave out the task index")
    _check_task(task)
    base = load_model(model)
    imported = _read(source, found, base, task_index)
    if found == "peft":
        _check_words(source, base, imported.prompt)
    renderer = renderer_for(task, base.tokenizer, **row_format(base))
    prompt, placement = _in_place(imported.prompt, base, renderer)
    imported = replace(imported, prompt=prompt)
    warnings = [*_check_fit(source, imported, base, task), *_half_of_a_hybrid(source)]
    folder = RunFolder.create(runs_folder, f"{task.name}-imported", _imported_record(base, task), task)
    folder.save_prompt(
        PromptRecord(
            kind="soft",
            text=renderer.prefix_text,
            method=imported.origin.get("peft_type", found).lower(),
            num_tokens=prompt.num_virtual_tokens,
            placement=placement,
        ),
        prompt,
        imported.parts,
    )
    count = prompt.num_virtual_tokens
    return ImportedRun(folder, found, dict(imported.origin), count, tuple(warnings))


def _half_of_a_hybrid(source: Path) -> list[str]:
    """That the prompt was learned with an adapter which is not read, where `export_run` wrote both."""
    if source.resolve().name != _PROMPT_HALF or not (source.resolve().parent / _ADAPTER_HALF).is_dir():
        return []
    return ["the prompt was learned with the adapter beside it, which is not read: it answers without it"]


def _read(source: Path, format: Format, base: FrozenModel, task_index: int | None) -> Imported:
    config = base.network.config
    if format == "peft":
        return import_peft(source, config=config, task_index=task_index)
    read: Callable[..., Imported] = import_npy if format == "npy" else import_caikit
    return read(source, config=config)


def _soft_prompt(folder: RunFolder, format: Format) -> tuple[PromptRecord, SoftPrompt]:
    """The one soft prompt that `folder` answers with."""
    record, prompt = folder.load_prompt()
    if prompt is None:
        raise FormatError(
            f"{folder.path}: this run chose the text prompt, and {_NAMES[format]} holds only soft prompts"
        )
    if record.members:
        raise FormatError(
            f"{folder.path}: this run answers with {len(record.members)} prompts together, and "
            f"{_NAMES[format]} holds one; tune without --ensemble to export it"
        )
    return record, prompt


def _check_peft_type(format: Format, peft_type: str | None) -> None:
    if peft_type is not None and format != "peft":
        raise FormatError(f"--peft-type {peft_type} is of --format peft, found --format {format}")
    if peft_type is not None and peft_type not in PEFT_TYPES:
        raise FormatError(f"--peft-type {peft_type!r}: expected one of {', '.join(PEFT_TYPES)}")


def _noted_words(prompt: SoftPrompt, base: FrozenModel, task: Task) -> dict[str, str]:
    """What the virtual tokens replace or, where only a decoder sees them, what its encoder reads first."""
    if isinstance(prompt, EncoderDecoderPrompt) and not isinstance(prompt.encoder, PlacedPrompt):
        words = base.tokenizer.decode(list(prompt.encoder), skip_special_tokens=True)
        return {WORDS_FOR_ENCODER: str(words)}
    renderer = arrange(task, base.tokenizer, "front", None, **row_format(base)).renderer
    return {"replaces": str(base.tokenizer.decode(renderer.prefix_ids))}


def _in_place(prompt: SoftPrompt, base: FrozenModel, renderer: RowRenderer) -> tuple[SoftPrompt, Placement]:
    """The prompt with the words that it leaves to who feeds the model, and where it stands.

    What only a decoder sees takes the place of no words: its encoder reads the text prompt.
    """
    words = tuple(renderer.prefix_ids)
    match prompt:
        case EncoderDecoderPrompt(encoder=PlacedPrompt()):
            return prompt, "encoder_decoder"
        case EncoderDecoderPrompt(decoder=decoder):
            return EncoderDecoderPrompt(words, decoder), "decoder"
        case KeyValuePrefix() if base.is_encoder_decoder:
            return EncoderDecoderPrompt(words, prompt), "decoder"
        case _:
            return prompt, "front"


def _architecture(record: ModelRecord) -> Architecture:
    match record.path:
        case "encoder" | "encoder-decoder" as kind:
            return kind
        case _:
            return "decoder"


def _virtual_tokens(path: Path, prompt: SoftPrompt, format: Format = "npy") -> InputPrompt:
    if not isinstance(prompt, InputPrompt):
        raise FormatError(
            f"{path}: {_NAMES[format]} holds only virtual tokens in front of every row, and this prompt is "
            "another; try --format peft, or tune one at the input (--method)"
        )
    return prompt


def _check_fit(source: Path, imported: Imported, base: FrozenModel, task: Task) -> Sequence[str]:
    """Check that the prompt is for this base and this task, and return what remains doubtful."""
    prompt, origin = imported.prompt, imported.origin
    count, maximum = _longest_side(prompt), base.maximum_length
    if maximum is not None and count >= maximum:
        raise FormatError(
            f"{source}: {count} virtual tokens leave no room; {base.name} reads at most {maximum}"
        )
    if (bound := origin.get(BASE_WEIGHTS, "")) and bound != base.identity().weights:
        raise FormatError(
            f"{source}: made for a base model with other weights (SHA-256 {bound[:12]}, those of {base.name} "
            f"are {base.identity().weights[:12]}); name the right one with --model"
        )
    if isinstance(prompt, HeadedPrefix):
        labels = len(task.labels) if task.labels else 0
        if prompt.head.num_labels != labels:
            raise FormatError(
                f"{source}: its head tells {prompt.head.num_labels} labels apart, task {task.name} "
                f"has {labels}; use a task with these labels, in their order"
            )
    elif not base.says_words:
        raise FormatError(
            f"{source}: {base.name} has no masked-LM head, and the prompt none that tells labels apart; name "
            "a base with one (--model)"
        )
    base.prefix([prompt])
    name = origin.get("base_model_name_or_path", "")
    if not bound and name and not _is_same_model(name, base.name):
        return [
            f"the prompt was made for {shown(name)}, and is run on {base.name}: only its shape was compared"
        ]
    return []


def _is_same_model(stated: str, model: str) -> bool:
    """Whether a file that states a base means `model`; what it states is compared, never opened."""
    folder = model_folder(model)
    return stated == model or (folder is not None and stated in (str(folder), str(folder.resolve())))


def _longest_side(prompt: SoftPrompt) -> int:
    """Virtual tokens in front of what is read together."""
    if not isinstance(prompt, EncoderDecoderPrompt):
        return prompt.num_virtual_tokens
    read = prompt.encoder.num_virtual_tokens if isinstance(prompt.encoder, PlacedPrompt) else 0
    return max(read, prompt.decoder.num_virtual_tokens)


def _check_words(path: Path, base: FrozenModel, prompt: SoftPrompt) -> None:
    """Check that PEFT gives the model the words behind the virtual tokens of `prompt` as it looks them up."""
    held = prompt.decoder if isinstance(prompt, EncoderDecoderPrompt) else prompt
    is_prefix = isinstance(held, KeyValuePrefix)
    if base.scales_words and not is_prefix:
        raise FormatError(
            f"{path}: the encoder of {base.name} scales the words that it looks up, and PEFT leaves that "
            "out behind virtual tokens, so that its logits are others; use keys and values, or --format npy"
        )


def _check_task(task: Task) -> None:
    if task.has_tags:
        raise FormatError(
            f"task {task.name} tags words by a head on each of them, and no format that is written or read "
            "holds such a head"
        )


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
