import sys
from pathlib import Path

import datasets
import huggingface_hub.constants
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tuningfork.data.arrow_rows import is_saved_dataset, read_hub_dataset, read_parquet, read_saved_dataset
from tuningfork.data.rows import RawRow
from tuningfork.errors import DataError, MissingDependencyError


def labelled_dataset(count: int = 3) -> datasets.Dataset:
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["no", "yes"])}
    )
    rows = {"text": [f"t{i}" for i in range(count)], "label": [i % 2 for i in range(count - 1)] + [-1]}
    return datasets.Dataset.from_dict(rows, features=features)


def test_parquet_rows_come_back_over_several_batches(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    values = [{"text": f"t{i}", "tags": ["a", "b"][: i % 3], "n": None if i % 7 else i} for i in range(700)]
    pq.write_table(pa.Table.from_pylist(values), path, row_group_size=300)
    rows = list(read_parquet(path))
    assert rows == [RawRow(row, f"{path}:{number}") for number, row in enumerate(values, start=1)]


def test_a_file_that_is_no_parquet_is_named(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    path.write_text("text,label\na,b\n")
    with pytest.raises(DataError, match=r"t\.parquet: not a Parquet file, or damaged after row 0 \("):
        list(read_parquet(path))


def test_a_damaged_parquet_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"text": [f"text {i}" for i in range(5000)]}), path, row_group_size=1000)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 200] = b"\xff" * 200
    path.write_bytes(bytes(content))
    with pytest.raises(DataError, match=r"t\.parquet: not a Parquet file, or damaged after row [1-9]\d* \("):
        list(read_parquet(path))


def test_a_repeated_parquet_column_is_named(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], names=["text", "text"]), path)
    with pytest.raises(DataError, match=r"t\.parquet: the column 'text' occurs twice\. Rename or remove one"):
        list(read_parquet(path))


def test_a_saved_dataset_has_its_class_names(tmp_path: Path) -> None:
    labelled_dataset().save_to_disk(tmp_path / "saved")
    assert is_saved_dataset(tmp_path / "saved")
    assert not is_saved_dataset(tmp_path)
    rows = list(read_saved_dataset(tmp_path / "saved", None))
    assert [row.values for row in rows] == [
        {"text": "t0", "label": "no"},
        {"text": "t1", "label": "yes"},
        {"text": "t2", "label": None},
    ]
    assert rows[1].source == f"{tmp_path / 'saved'}:2"


def test_the_split_of_a_saved_dataset_is_chosen(tmp_path: Path) -> None:
    folder = tmp_path / "saved"
    datasets.DatasetDict({"train": labelled_dataset(3), "test": labelled_dataset(2)}).save_to_disk(folder)
    assert is_saved_dataset(folder)
    assert len(list(read_saved_dataset(folder, None))) == 3
    assert len(list(read_saved_dataset(folder, "test"))) == 2
    with pytest.raises(DataError, match=r"no split 'dev'; it holds 'train', 'test'\. Name one of these"):
        read_saved_dataset(folder, "dev")


def test_a_saved_dataset_without_splits_refuses_one(tmp_path: Path) -> None:
    labelled_dataset().save_to_disk(tmp_path / "saved")
    with pytest.raises(DataError, match=r"holds one dataset without splits, found --split test"):
        read_saved_dataset(tmp_path / "saved", "test")


def test_a_damaged_saved_dataset_is_named(tmp_path: Path) -> None:
    labelled_dataset().save_to_disk(tmp_path / "saved")
    (tmp_path / "saved" / "dataset_info.json").write_text("{")
    with pytest.raises(DataError, match=r"saved: the saved dataset cannot be read \(.*Save it again"):
        read_saved_dataset(tmp_path / "saved", None)


def test_a_dataset_repository_is_streamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    repository = tmp_path / "repository"
    repository.mkdir()
    (repository / "train.jsonl").write_text('{"text": "a", "label": "x"}\n{"text": "b", "label": "y"}\n')
    (repository / "test.jsonl").write_text('{"text": "c", "label": "x"}\n')
    rows = list(read_hub_dataset(str(repository), None))
    assert [row.values for row in rows] == [{"text": "a", "label": "x"}, {"text": "b", "label": "y"}]
    assert [row.source for row in rows] == [f"{repository}:1", f"{repository}:2"]
    assert [row.values["text"] for row in read_hub_dataset(str(repository), "test")] == ["c"]
    with pytest.raises(DataError, match=r"\(split 'dev'\) cannot be loaded: .*Check the name, the split"):
        read_hub_dataset(str(repository), "dev")
    with pytest.raises(DataError, match=r"cannot be loaded: .*'?other'?"):
        read_hub_dataset(f"{repository}:other", None)


def test_an_unreachable_dataset_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    with pytest.raises(
        DataError, match=r"^owner/none: there is no local file of this name, and the Hugging Face"
    ):
        read_hub_dataset("owner/none", None)


def test_a_missing_package_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(
        MissingDependencyError, match=r"Reading the Hugging Face dataset 'a/b' needs .*'tuningfork\[hub\]'"
    ):
        read_hub_dataset("a/b", None)
    with pytest.raises(MissingDependencyError, match=r"Reading the saved dataset .*'datasets'"):
        read_saved_dataset(tmp_path, None)
