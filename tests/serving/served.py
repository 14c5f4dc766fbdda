"""Small prompts to serve: runs made without tuning, and a service with a scripted engine."""

from pathlib import Path
from typing import Any

import torch

from tests.library.prompts import CONTRACT, LINEAGE
from tests.library.run_examples import prompt_record, run_record
from tests.tiny_folder import build_byte_tokenizer
from tests.tiny_models import build_network
from tuningfork.library.aliases import MoveRequest
from tuningfork.library.canonical import hash_bytes
from tuningfork.library.contents import Content, VersionRecord
from tuningfork.library.run_folder import RunFolder
from tuningfork.library.run_records import ModelRecord, TuneOptions
from tuningfork.library.store import Library
from tuningfork.models.artefacts import InputPrompt, SoftPrompt
from tuningfork.models.frozen import FrozenModel
from tuningfork.tasks.task import Task, TaskData

CONTEXT = 256
NUM_VIRTUAL = 4


def small_model() -> FrozenModel:
    """A tiny Llama that reads bytes."""
    tokenizer = build_byte_tokenizer()
    torch.manual_seed(0)
    network = build_network("llama", vocab_size=len(tokenizer), max_position_embeddings=CONTEXT)
    return FrozenModel(network, tokenizer, name="tiny")


def reply_task(folder: Path, **fields: Any) -> Task:
    given: dict[str, Any] = {
        "name": "replies",
        "type": "generation",
        "prompt": "Answer. {{message}}",
        "metric": "chrf",
        "max_new_tokens": 7,
        "data": TaskData(train=str(folder / "rows.jsonl"), inputs={"message": "message"}, target="reply"),
    }
    return Task(**(given | fields))


def label_task(folder: Path) -> Task:
    data = TaskData(train=str(folder / "rows.jsonl"), inputs={"message": "message"}, target="queue")
    labels = {"billing": "bills", "tech": "bytes"}
    return reply_task(folder, type="classification", metric="accuracy", labels=labels, data=data)


def two_sided_task(folder: Path) -> Task:
    inputs = {"question": "question", "context": "context"}
    data = TaskData(train=str(folder / "rows.jsonl"), inputs=inputs, target="reply")
    return reply_task(folder, prompt="Answer {{question}} by {{context}}.", data=data)


def chat_task(folder: Path) -> Task:
    data = TaskData(train=str(folder / "rows.jsonl"), messages="messages")
    return reply_task(folder, prompt="Be kind.", data=data)


def soft_prompt(model: FrozenModel, seed: int = 0) -> InputPrompt:
    generator = torch.Generator().manual_seed(seed)
    return InputPrompt(torch.randn(NUM_VIRTUAL, model.hidden_size, generator=generator))


def save_run(
    folder: Path,
    model: FrozenModel,
    task: Task,
    soft: SoftPrompt | None = None,
    *,
    other_base: bool = False,
    **record: Any,
) -> RunFolder:
    """A run that chose `soft`, or the words of the task."""
    identity = model.identity()
    described = ModelRecord(
        name=model.name, weights="0" * 64 if other_base else identity.weights, tokenizer=identity.tokenizer,
        chat_template=identity.chat_template, num_parameters=1, dtype="float32", device="cpu", path="shared",
    )  # fmt: skip
    base = run_record().model_copy(update={"model": described, "options": TuneOptions()})
    with RunFolder.making(folder, base, task) as made:
        chosen = prompt_record("text" if soft is None else "soft", task.prompt).model_copy(update=record)
        made.save_prompt(chosen, soft)
    return RunFolder.open(folder)


def register(library: Library, name: str, run: RunFolder, *, author: str = "ann") -> VersionRecord:
    """The prompt of `run` as a version, with the files that make it run."""
    paths = [path for path in run.path.rglob("*") if path.is_file()]
    files = {path.relative_to(run.path).as_posix(): path.read_bytes() for path in paths}
    hashes = {path: hash_bytes(found) for path, found in files.items()}
    content = Content(kind="soft", text=run.task.prompt, contract=CONTRACT, files=hashes)
    return library.register(name, content, files, LINEAGE, author=author)


def point(library: Library, name: str, alias: str, number: int | None, *, actor: str = "ann") -> None:
    """Have an alias point to a version, without gates."""
    library.set_policy(name, alias, {}, actor=actor)
    library.move_alias(MoveRequest(name, alias, number, actor))
