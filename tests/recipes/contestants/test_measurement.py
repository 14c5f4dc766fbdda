import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch

from tests.recipes.conftest import RecordingSink
from tuningfork.data.example import Example
from tuningfork.errors import ModelError, RunError
from tuningfork.evaluation.comparison import Family
from tuningfork.evaluation.evaluate import Evaluation
from tuningfork.evaluation.prices import PriceTable
from tuningfork.library.comparison_folder import ContestantFolder
from tuningfork.library.run_records import TuneOptions
from tuningfork.models.frozen import FrozenModel
from tuningfork.recipes.contestants.contestant import Arena, Made
from tuningfork.recipes.contestants.measurement import Measurement
from tuningfork.recipes.preparation import prepare
from tuningfork.tasks.task import Task


@dataclass
class Guess:
    """A contestant that says one label; notes what is asked of it, and when."""

    error: BaseException | None = None
    name: str = "guess"
    family: Family = "classical"
    said: list[str] = field(default_factory=list)

    def reason_to_leave_out(self, arena: Arena) -> str | None:
        return None

    def make(self, arena: Arena, work: Path) -> Made:
        self.said.append("made")
        if self.error is not None:
            raise self.error
        return Made(answers={3: self.answer, 1: self.answer})

    def answer(self, examples: Sequence[Example]) -> Evaluation:
        self.said.append(f"{len(examples)} rows")
        scores = [float(example.targets[0] == "billing") for example in examples]
        return Evaluation(["billing"] * len(examples), scores, [0.5] * len(examples), 0.0)


@pytest.fixture
def arena(tasks: dict[str, Task], model: FrozenModel) -> Arena:
    options = TuneOptions()
    prepared = prepare(tasks["classification"], model, options, RecordingSink())
    return Arena(model, prepared, options, RecordingSink())


def measurement(arena: Arena, said: list[str]) -> Measurement:
    @contextmanager
    def quiet() -> Iterator[None]:
        said.append("quiet")
        yield
        said.append("noise")

    return Measurement(arena, arena.prepared.test, PriceTable(), quiet)


def test_all_seeds_answer_and_then_single_rows_are_timed_in_quiet(arena: Arena, tmp_path: Path) -> None:
    guess = Guess()
    record = measurement(arena, guess.said).of(guess, ContestantFolder(tmp_path))
    num_test = len(arena.prepared.test)
    assert [seed.seed for seed in record.seeds] == [1, 3]
    assert record.mean == pytest.approx(sum(record.seeds[0].scores) / num_test)
    start, end = guess.said.index("quiet"), guess.said.index("noise")
    assert guess.said[:start] == ["made", *[f"{num_test} rows"] * 2]
    assert set(guess.said[start + 1 : end]) == {"1 rows"}
    assert guess.said[end + 1 :] == []


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ModelError("it fell over"), "it fell over"),
        (MemoryError(), r"it needs more memory than there is \(MemoryError\)"),
        (torch.OutOfMemoryError("CUDA: 9 GB\nat line 3"), r"it needs more memory .* \(CUDA: 9 GB\)$"),
    ],
)
def test_what_goes_wrong_with_one_is_its_result(
    arena: Arena, tmp_path: Path, error: BaseException, reason: str
) -> None:
    record = measurement(arena, []).of(Guess(error), ContestantFolder(tmp_path))
    assert (record.status, record.mean, record.cost) == ("failed", None, None)
    assert re.search(reason, record.reason or "")


def test_what_goes_wrong_with_its_folder_ends_the_comparison(arena: Arena, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="disk full"):
        measurement(arena, []).of(Guess(RunError("disk full")), ContestantFolder(tmp_path))
