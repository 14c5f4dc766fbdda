import gc
import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuningfork.data import store as store_module
from tuningfork.data.columns import ColumnMap
from tuningfork.data.example import Example, Message
from tuningfork.data.store import ExampleStore, keep_examples, load_examples
from tuningfork.errors import DataError

TEXTS = st.text(max_size=6)
EXAMPLES = st.builds(
    Example,
    st.dictionaries(TEXTS, TEXTS, max_size=2),
    st.lists(TEXTS, max_size=2).map(tuple),
    st.lists(st.builds(Message, st.sampled_from(["user", "assistant"]), TEXTS), max_size=2).map(tuple),
    TEXTS,
)


def write_rows(path: Path, count: int, *, padding: int = 0) -> Path:
    with path.open("w") as file:
        for number in range(count):
            text = f"text {number} " + "x" * padding
            file.write(json.dumps({"text": text, "label": f"l{number % 3}"}) + "\n")
    return path


@settings(max_examples=50)
@given(st.lists(EXAMPLES, max_size=12))
def test_a_store_gives_back_what_was_put_in(examples: list[Example]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store_module, "_ROWS_PER_BATCH", 5)
        store = ExampleStore(examples)
    assert list(store) == examples
    assert len(store) == len(examples)
    assert [store[index] for index in range(-len(store), len(store))] == examples * 2
    assert list(store[1:9:2]) == examples[1:9:2]


def test_a_position_outside_the_store_is_refused() -> None:
    with pytest.raises(IndexError, match="out of range"):
        ExampleStore([Example()])[1]


def test_large_rows_make_small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "_BYTES_PER_BATCH", 1000)
    examples = [Example({"text": str(number) * 400}) for number in range(10)]
    store = ExampleStore(examples)
    assert store._ends == [3, 6, 9, 10]
    assert [store[number] for number in range(10)] == examples


def test_the_file_goes_with_the_store(tmp_path: Path) -> None:
    store = ExampleStore([Example({"text": "a"})], folder=tmp_path / "new")
    path = store.path
    assert path.parent == tmp_path / "new"
    part = store[:1]
    del store
    gc.collect()
    assert path.exists()
    assert part[0].inputs == {"text": "a"}
    del part
    gc.collect()
    assert not path.exists()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"file.in: cannot keep examples in this folder \(Not a directory\)"):
        ExampleStore([Example()], folder=tmp_path / "file" / "in")


def test_no_file_is_left_when_a_row_is_bad(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "t.jsonl", 300)
    with path.open("a") as file:
        file.write('{"text": "x"}\n')
    with pytest.raises(DataError, match=r"t\.jsonl line 301: no column 'label', the target"):
        load_examples(path, memory_limit_bytes=1000, folder=tmp_path / "kept")
    assert list((tmp_path / "kept").iterdir()) == []


def test_few_examples_are_a_list_and_many_a_store() -> None:
    examples = [Example({"text": str(number)}) for number in range(10)]
    assert keep_examples(examples) == examples
    kept = keep_examples(iter(examples), memory_limit_bytes=3000)
    assert isinstance(kept, ExampleStore)
    assert list(kept) == examples


def test_columns_are_guessed_or_named(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "t.jsonl", 300)
    guessed = load_examples(path)
    assert guessed.columns.inputs == {"text": "text"}
    assert "target `label`" in guessed.columns.explanation
    assert guessed.source == str(path)
    assert not guessed.is_on_disk
    assert len(guessed.examples) == 300
    assert guessed.examples[299] == Example({"text": "text 299 "}, ("l2",), source=f"{path}:300")
    named = load_examples(path, ColumnMap(inputs={"x": "label"}, target="text"))
    assert named.examples[0] == Example({"x": "l0"}, ("text 0",), source=f"{path}:1")
    assert named.columns.explanation == ""


def test_the_limit_stops_the_reading(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "t.jsonl", 300)
    with path.open("a") as file:
        file.write("broken\n")
    assert len(load_examples(path, limit=250).examples) == 250
    assert len(load_examples(path, limit=10).examples) == 10
    with pytest.raises(DataError, match="the limit is 0; expected at least 1 row"):
        load_examples(path, limit=0)


def test_bad_rows_are_left_out_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "_BAD_ROWS_DESCRIBED", 2)
    path = write_rows(tmp_path / "t.jsonl", 9)
    with path.open("a") as file:
        file.write('broken\n{"text": "x"}\n{"label": "x"}\n')
    loaded = load_examples(path, skip_bad_rows=True)
    assert len(loaded.examples) == 9
    assert loaded.bad_row_count == 3
    assert [problem.split(",")[0] for problem in loaded.bad_rows] == [
        f"{path} line 10: broken JSON",
        f"{path} line 11: no column 'label'",
    ]
    with pytest.raises(DataError, match=r"none of its 12 rows can be used\. Run without --skip-bad-rows"):
        load_examples(path, ColumnMap(inputs={"a": "b"}), skip_bad_rows=True)


def test_targets_may_be_absent_when_none_are_needed(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text('{"text": "a"}\n')
    with pytest.raises(DataError, match="no column is named like a target"):
        load_examples(path)
    assert load_examples(path, needs_target=False).examples[0].targets == ()


MEASURE = """
import sys
from pathlib import Path
import pyarrow
from tuningfork.data.store import load_examples

def peak():
    # Not getrusage: its peak starts from the parent's.
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024

load_examples(sys.argv[1], limit=300, memory_limit_bytes=2**18)
before = peak()
loaded = load_examples(sys.argv[1], memory_limit_bytes=int(sys.argv[2]))
print(loaded.is_on_disk, len(loaded.examples), peak() - before, loaded.examples[19_999].inputs["text"][:10])
"""


def measure_peak(path: Path, memory_limit_bytes: int) -> tuple[bool, float]:
    command = [sys.executable, "-c", MEASURE, str(path), str(memory_limit_bytes)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    is_on_disk, count, megabytes, *last = output.split()
    assert (count, last) == ("20000", ["text", "19999"])
    return is_on_disk == "True", float(megabytes)


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc")
def test_memory_stays_bounded(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "t.jsonl", 20_000, padding=3000)
    file_megabytes = path.stat().st_size / 2**20
    assert file_megabytes > 50
    is_on_disk, stored = measure_peak(path, 2**20)
    assert is_on_disk
    assert 0 < stored < 20
    is_on_disk, listed = measure_peak(path, 2**30)
    assert not is_on_disk
    assert listed > file_megabytes
