from io import StringIO
from pathlib import Path

from rich.console import Console

from tests.library.run_examples import run_record
from tuningfork.cli.shared_tables import print_shared
from tuningfork.library.run_folder import RunFolder
from tuningfork.library.run_records import PromptRecord, SharedResult, SourceRecord, SourceResult


def test_what_it_brought_each_task_is_printed(tmp_path: Path) -> None:
    source = SourceRecord(
        task="tickets", task_hash="", data_hash="", test_hash="", num_train=11, num_validation=7, left_out=3,
        teacher="0123456789",
    )  # fmt: skip
    other = source.model_copy(update={"task": "orders", "teacher": ""})
    record = run_record().model_copy(
        update={"origin": "shared", "sources": (source, other), "sampling": "even"}
    )
    folder = RunFolder.create_shared(tmp_path / "shared", record)
    prompt = PromptRecord(kind="text", text="", num_tokens=5, learning_rate=0.25)
    folder.save_prompt(prompt, None)
    results = tuple(
        SourceResult(task=name, log_loss_before=before, log_loss=0.5)
        for name, before in (("tickets", 1.25), ("orders", 2.5))
    )
    folder.save_result(
        SharedResult(
            tasks=results,
            steps=30,
            best_step=20,
            trained_parameters=12345,
            stored_bytes=2000,
            peak_memory_bytes=3_000_000,
            base_is_unchanged=False,
            seconds=9.0,
        )
    )
    out = StringIO()
    print_shared(Console(file=out, width=200), folder)
    lines = out.getvalue().splitlines()
    assert "rows drawn even" in lines[0]
    assert "5 virtual tokens, learning rate 0.25, best of 30 steps: 20" in lines[1]
    assert lines[3].split() == ["tickets", "11", "7", "3", "01234567", "1.250", "0.500"]
    assert lines[4].split() == ["orders", "11", "7", "3", "-", "2.500", "0.500"]
    assert [line.strip() for line in lines[5:]] == [
        "12,345 trained, 2.0 kB stored, peak 3.0 MB. 9 s in all.",
        "Base model CHANGED: please report this.",
    ]
