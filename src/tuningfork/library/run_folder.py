"""A run on disk: what was asked, what happened, what came out."""

import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from tuningfork.atomic import finish_replacing, write_text
from tuningfork.data.hashing import hash_file, hash_folder
from tuningfork.errors import FormatError, RunError
from tuningfork.events import Event, StepFinished, Validated
from tuningfork.library.artefact_files import load_artefact, save_artefact
from tuningfork.library.formats.peft_lora import load_lora, save_lora
from tuningfork.library.numbered_folders import new_folder, read_record
from tuningfork.library.parts_file import load_parts, save_parts
from tuningfork.library.run_records import (
    MemberRecord,
    PromptRecord,
    Record,
    RunRecord,
    SharedResult,
    TuneResult,
)
from tuningfork.models.artefacts import AdaptedPrompt, SoftPrompt, UnadaptedPrompt
from tuningfork.models.parts import PromptParts
from tuningfork.tasks.task import Task, load_task, save_task
from tuningfork.types import Combine

R = TypeVar("R", bound=Record)

_RUN, _RESULT, _PROMPT = "run.json", "result.json", "prompt.json"
_SOFT_PROMPT, _METRICS, _TASK = "prompt.safetensors", "metrics.jsonl", "task.yaml"
_PARTS = "prompt.parts.safetensors"
_ADAPTER = "adapter"
_PREDICTIONS, _CHECKPOINTS, _TEST_READS = "test_predictions.jsonl", "checkpoints", "test_reads.jsonl"


class RunFolder:
    """One run.

    ```
    run.json                options, hashes of data, task and model, environment
    task.yaml               the task as it was used
    metrics.jsonl           every step and validation
    checkpoints/            one file for each candidate
    prompt.json             the prompt that was chosen
    prompt.safetensors      its tensors, if it is soft
    prompt.parts.safetensors  what it was made of, if formats outside keep that apart
    prompt-2.safetensors    those of the next, where several answer together
    adapter/                its LoRA adapter as a PEFT folder, if it has one
    test_predictions.jsonl  what each way of prompting answered on the test split
    result.json             the figures
    ```
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, parent: Path, name: str, record: RunRecord, task: Task) -> "RunFolder":
        """Make a new folder `<name>-<number>` in `parent` for a run that starts.

        What a name of a folder cannot hold everywhere becomes `-`.
        """
        path = new_folder(parent, name)
        folder = cls(path)
        save_task(task, path / _TASK)
        write_text(path / _RUN, record.model_dump_json(indent=2))
        return folder

    @classmethod
    @contextmanager
    def making(cls, path: Path, record: RunRecord, task: Task) -> "Iterator[RunFolder]":
        """A folder under another name, which becomes `path` if the block ends well, and is removed if not.

        Raises:
            RunError: if there is something at `path` already.
        """
        check_absent(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        try:
            save_task(task, temporary / _TASK)
            write_text(temporary / _RUN, record.model_dump_json(indent=2))
            yield cls(temporary)
            temporary.rename(path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    @classmethod
    def create_shared(cls, path: Path, record: RunRecord) -> "RunFolder":
        """Make the folder `path` for a prompt that several tasks share; it has no task of its own.

        Raises:
            RunError: if there is something at `path`.
        """
        try:
            path.mkdir(parents=True)
        except FileExistsError as error:
            raise RunError(
                f"{path}: there is something here already; name another folder with --output, or go on with "
                "an unfinished one by --resume"
            ) from error
        write_text(path / _RUN, record.model_dump_json(indent=2))
        return cls(path)

    @classmethod
    def open(cls, path: Path) -> "RunFolder":
        """The run at `path`.

        Raises:
            RunError: if there is none.
        """
        if not (path / _RUN).is_file():
            others = (
                sorted(found.parent.name for found in path.parent.glob(f"*/{_RUN}")) if path.parent else []
            )
            hint = f"; runs there: {', '.join(others[-5:])}" if others else "; make one with: tuningfork tune"
            raise RunError(f"{path}: no run here (no {_RUN}){hint}")
        return cls(path)

    @property
    def record(self) -> RunRecord:
        """What the run is."""
        return self._read(_RUN, RunRecord)

    @property
    def task(self) -> Task:
        """The task as it was used; code that it names is not imported before it scores answers."""
        return load_task(self.path / _TASK, imports_code=False)

    @property
    def prompt_path(self) -> Path:
        """Where the tensors of the chosen prompt lie, if it is soft."""
        return self.path / _SOFT_PROMPT

    @property
    def is_finished(self) -> bool:
        """Whether the run has a result."""
        return (self.path / _RESULT).is_file()

    @property
    def result(self) -> TuneResult:
        """What the run found.

        Raises:
            RunError: if it is not finished; the message says how to resume it.
        """
        if not self.is_finished:
            raise RunError(
                f"{self.path}: this run is not finished; go on with: tuningfork tune --resume {self.path}"
            )
        return self._read(_RESULT, TuneResult)

    def checkpoint_path(self, candidate: str) -> Path:
        """Where the checkpoint of `candidate` lies."""
        return self.path / _CHECKPOINTS / f"{candidate}.safetensors"

    @property
    def adapter_path(self) -> Path:
        """Where the LoRA adapter of the chosen prompt lies, if it has one: a PEFT folder."""
        return self.path / _ADAPTER

    @property
    def checkpoints(self) -> list[Path]:
        """Every checkpoint there is."""
        return sorted((self.path / _CHECKPOINTS).glob("*.safetensors"))

    def check_own_task(self) -> None:
        """Check that the run is of one task.

        Raises:
            RunError: if it holds what several tasks share.
        """
        if self.record.origin == "shared":
            raise RunError(
                f"{self.path}: holds what several tasks share, not a prompt of one; "
                f"learn one with: tuningfork tune TASK --start-from {self.path}"
            )

    def finish_checkpoints(self) -> None:
        """End what a killed process began when it wrote several checkpoints together."""
        finish_replacing(self.path / _CHECKPOINTS)

    def open_metrics(self, step_of: Callable[[str], int]) -> "MetricsFile":
        """The metrics, without those that come after a candidate's checkpoint at `step_of(candidate)`."""
        return MetricsFile(self.path / _METRICS, step_of)

    def save_prompt(
        self, record: PromptRecord, prompt: SoftPrompt | None, parts: PromptParts | None = None
    ) -> int:
        """Write the chosen prompt, tensors first; return its size in bytes, without its parts."""
        (self.path / _PARTS).unlink(missing_ok=True)
        if parts is not None:
            save_parts(parts, self.path / _PARTS)
        stored = len(record.text.encode())
        if prompt is not None:
            bare = prompt.prompt if isinstance(prompt, AdaptedPrompt) else prompt
            self._save_tensors(bare, _SOFT_PROMPT, record.method)
            stored = (self.path / _SOFT_PROMPT).stat().st_size
        if isinstance(prompt, AdaptedPrompt):
            stored += save_lora(prompt.update, self.adapter_path, base_model_name=self.record.model.name)
            if record.adapter is not None:
                bound = record.adapter.model_copy(update={"sha256": hash_folder(self.adapter_path)})
                record = record.model_copy(update={"adapter": bound})
        write_text(self.path / _PROMPT, record.model_dump_json(indent=2))
        return stored

    def save_members(
        self, record: PromptRecord, members: Sequence[tuple[PromptRecord, SoftPrompt]], combine: Combine
    ) -> int:
        """Write soft prompts that answer together by `combine`, tensors first; return their size in bytes.

        `record` says what the first of them is.
        """
        described, size = [], 0
        for number, (member, prompt) in enumerate(members, start=1):
            if isinstance(prompt, AdaptedPrompt):
                raise ValueError("prompts with adapters do not answer together")
            name = _SOFT_PROMPT if number == 1 else f"prompt-{number}.safetensors"
            self._save_tensors(prompt, name, member.method)
            size += (self.path / name).stat().st_size
            fields = member.model_dump(include=set(MemberRecord.model_fields))
            described.append(MemberRecord(file=name, sha256=hash_file(self.path / name), **fields))
        together = record.model_copy(update={"members": tuple(described), "combine": combine})
        write_text(self.path / _PROMPT, together.model_dump_json(indent=2))
        return size

    def load_members(self) -> list[tuple[MemberRecord, UnadaptedPrompt]]:
        """The soft prompts that answer together, with what they are; none if one prompt answers alone.

        Raises:
            RunError: if the run has not chosen a prompt yet.
            FormatError: if a file is damaged, or is not the one that was saved.
        """
        loaded = []
        for member in self._prompt_record().members:
            path = self.path / Path(member.file).name
            if path.is_file() and hash_file(path) != member.sha256:
                raise FormatError(
                    f"{path}: not the file that was saved (other SHA-256); tune or compose again"
                )
            loaded.append((member, load_artefact(path)[0]))
        return loaded

    def load_prompt(self) -> tuple[PromptRecord, SoftPrompt | None]:
        """The chosen prompt and, unless it is text, its tensors.

        Raises:
            RunError: if the run has not chosen one yet.
            FormatError: if the file is damaged.
        """
        record = self._prompt_record()
        if record.kind == "text":
            return record, None
        bare = load_artefact(self.path / _SOFT_PROMPT)[0]
        if record.adapter is None:
            return record, bare
        update = load_lora(self.adapter_path)
        if record.adapter.sha256 and hash_folder(self.adapter_path) != record.adapter.sha256:
            raise FormatError(
                f"{self.adapter_path}: not the adapter that was saved (other SHA-256); tune again"
            )
        return record, AdaptedPrompt(bare, update)

    def load_parts(self) -> PromptParts | None:
        """What the chosen prompt was made of; None if that was not kept.

        Raises:
            FormatError: if the file is damaged.
        """
        path = self.path / _PARTS
        return load_parts(path) if path.is_file() else None

    def prompt_files(self) -> list[str]:
        """The files of the chosen prompt, as paths in this folder.

        Raises:
            RunError: if the run has not chosen one yet.
        """
        record, names = self._prompt_record(), [_PROMPT]
        if record.kind != "text":
            names += [_SOFT_PROMPT, *([_PARTS] if (self.path / _PARTS).is_file() else [])]
        names += [Path(member.file).name for member in record.members]
        if record.adapter is not None:
            names += [f"{_ADAPTER}/{path.name}" for path in self.adapter_path.iterdir() if path.is_file()]
        return sorted(set(names))

    def save_predictions(self, rows: Iterable[dict[str, Any]]) -> None:
        """Write what each way of prompting answered on the test split."""
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
        write_text(self.path / _PREDICTIONS, "".join(lines))

    def load_predictions(self) -> list[dict[str, Any]]:
        """What each way of prompting answered on the test split."""
        # A file ends its lines at `\n` alone, where `splitlines` would also break inside answers.
        with (self.path / _PREDICTIONS).open(encoding="utf-8") as file:
            return [json.loads(line) for line in file]

    @property
    def shared_result(self) -> SharedResult:
        """What was found about a prompt that several tasks share.

        Raises:
            RunError: if it is not finished.
        """
        if not self.is_finished:
            raise RunError(f"{self.path}: not finished; go on with the command that began it and --resume")
        return self._read(_RESULT, SharedResult)

    def save_result(self, result: TuneResult | SharedResult) -> None:
        """Write the result, which marks the run as finished."""
        write_text(self.path / _RESULT, result.model_dump_json(indent=2))

    def count_test_read(self, test_hash: str) -> int:
        """Note that this run reads the test set, and return how many reads by runs beside it that makes."""
        return count_test_read(self.path, test_hash)

    def _save_tensors(self, prompt: UnadaptedPrompt, name: str, method: str | None) -> None:
        model = self.record.model
        metadata = {
            "base_weights_sha256": model.weights,
            "base_tokenizer_sha256": model.tokenizer,
            "base_chat_template_sha256": model.chat_template,
            "method": method or "",
        }
        save_artefact(prompt, self.path / name, metadata)

    def _prompt_record(self) -> PromptRecord:
        if not (self.path / _PROMPT).is_file():
            raise RunError(
                f"{self.path}: no prompt has been chosen yet; "
                f"go on with: tuningfork tune --resume {self.path}"
            )
        return self._read(_PROMPT, PromptRecord)

    def _read(self, name: str, kind: type[R]) -> R:
        return read_record(self.path / name, kind)


def check_absent(path: Path) -> None:
    """Check that a run can be made at `path`.

    Raises:
        RunError: if there is something.
    """
    if path.exists():
        raise RunError(f"{path}: exists already; name another folder, or remove it")


def count_test_read(run: Path, test_hash: str) -> int:
    """`RunFolder.count_test_read` of a run that is yet to lie at `run`, in a folder that exists."""
    log = run.parent / _TEST_READS
    entry = {
        "test": test_hash,
        "run": run.name,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    with log.open("a", encoding="utf-8") as file:
        file.write(json.dumps(entry) + "\n")
    return sum(json.loads(line)["test"] == test_hash for line in log.read_text(encoding="utf-8").splitlines())


class MetricsFile:
    """An event sink that appends steps and validations to a JSONL file, one line each."""

    def __init__(self, path: Path, step_of: Callable[[str], int]) -> None:
        self._path = path
        if path.exists():
            kept = [line for line in _complete_lines(path) if _is_before(line, step_of)]
            write_text(path, "".join(f"{line}\n" for line in kept))

    def emit(self, event: Event) -> None:
        """Append `event` if it is a step or a validation."""
        if isinstance(event, StepFinished | Validated):
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"event": type(event).__name__, **asdict(event)}) + "\n")


def _complete_lines(path: Path) -> Sequence[str]:
    """The lines of `path`, without a last one that a crash cut short."""
    text = path.read_text(encoding="utf-8")
    lines = text.split("\n")
    return [line for line in lines[:-1] if line]


def _is_before(line: str, step_of: Callable[[str], int]) -> bool:
    entry = json.loads(line)
    return bool(entry["step"] <= step_of(entry["candidate"]))
