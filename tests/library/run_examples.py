"""Records of a run, as small as they can be."""

from pathlib import Path
from typing import Any, Literal

from tuningfork.library.run_records import (
    ModelRecord,
    PromptRecord,
    RunRecord,
    TuneOptions,
    TuneResult,
    VerdictRecord,
    WayRecord,
)
from tuningfork.tasks.task import Task, TaskData

MODEL = ModelRecord(
    name="tiny", weights="w", tokenizer="t", chat_template="c", num_parameters=1, dtype="float32",
    device="cpu", path="shared",
)  # fmt: skip
WAY = WayRecord(
    name="text prompt", num_rows=5, score=0.4, low=0.1, high=0.8, log_loss=0.9, seconds=0.0,
    peak_memory_bytes=1, trained_parameters=0, stored_bytes=10,
)  # fmt: skip
VERDICT = VerdictRecord(
    verdict="not enough data", difference=0.1, low=-0.2, high=0.3, num_rows=5, needed_rows=80, mcnemar_p=1.0,
    sentence="Not enough data.",
)  # fmt: skip


def run_record(**options: Any) -> RunRecord:
    """A run of the tiny model."""
    return RunRecord(
        created="2026-01-02T03:04:05+00:00", options=TuneOptions(**options), model=MODEL, data_hash="d",
        test_hash="h", task_hash="k", environment={"threads": "1"},
    )  # fmt: skip


def prompt_record(kind: Literal["soft", "text"], text: str = "Say it.") -> PromptRecord:
    """A prompt of two tokens."""
    return PromptRecord(
        kind=kind, text=text, num_tokens=2, method="prompt_tuning" if kind == "soft" else None
    )


def tune_result() -> TuneResult:
    """A result with one way of prompting."""
    return TuneResult(
        metric="accuracy", digits=3, higher_is_better=True, num_train=10, num_validation=4, num_folds=1,
        num_test=5, ways=(WAY,), candidates=(), text_validation_log_loss=0.7, start_gap=0.0,
        verdict=VERDICT, band=None,
        test_reads=1, base_is_unchanged=True, seconds=1.0,
    )  # fmt: skip


def task(folder: Path) -> Task:
    """A task whose rows lie in `folder`."""
    return Task(
        name="tickets", type="generation", prompt="Answer. {{message}}", metric="chrf",
        data=TaskData(train=str(folder / "rows.jsonl"), inputs={"message": "message"}, target="reply"),
    )  # fmt: skip
