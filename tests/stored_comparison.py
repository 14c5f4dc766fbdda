"""A small finished comparison, as its folder holds it."""

from pathlib import Path

from tuningfork.evaluation.comparison import ComparisonRecord, ContestantRecord, SeedRecord, TestRow

ANSWERS = {"text prompt": ("yes", "no", "maybe"), "prompt tuning": ("yes", "yes, please", "no")}


def comparison_record() -> ComparisonRecord:
    contestants = [
        ContestantRecord(
            name=name,
            family="words",
            status="measured",
            seeds=(
                SeedRecord(seed=0, predictions=answers, scores=(1.0, 0.0, 0.0)),
                SeedRecord(seed=1, predictions=("x", "y", "z"), scores=(0.0, 0.0, 0.0)),
            ),
        )
        for name, answers in ANSWERS.items()
    ]
    left_out = ContestantRecord(name="LoRA", family="weights", status="left out", reason="no layers")
    rows = tuple(
        TestRow(inputs={"message": f"Tea {n}?", "mood": "fine"}, targets=("yes", "sure")) for n in range(3)
    )
    return ComparisonRecord(
        created="2030-01-01T00:00:00+00:00",
        task="tea",
        task_type="generation",
        task_hash="0",
        metric="chrf",
        metric_digits=1,
        metric_maximum=100.0,
        higher_is_better=True,
        model="bundled",
        model_hash="0",
        num_model_parameters=1,
        num_train=8,
        num_folds=1,
        num_seeds=2,
        max_steps=1,
        rows=rows,
        contestants=(*contestants, left_out),
        differences=(),
        headline="",
        environment={},
        seconds=1.0,
    )


def save_comparison(folder: Path) -> Path:
    """Write the comparison into `folder`."""
    folder.mkdir(parents=True)
    (folder / "comparison.json").write_text(comparison_record().model_dump_json(), encoding="utf-8")
    return folder
