import math

import numpy as np
import pytest

from tests.library.comparison_examples import left_out, measured, plan, seed_record
from tests.recipes.conftest import RecordingSink
from tuningfork.data.example import Example, Message
from tuningfork.evaluation.comparison import ComparisonRecord, ContestantRecord
from tuningfork.evaluation.evaluate import Evaluation
from tuningfork.library.run_records import TuneOptions
from tuningfork.models.frozen import FrozenModel
from tuningfork.recipes.comparison_record import _shown, comparison_record, further_metrics, mean_score
from tuningfork.recipes.comparison_record import seed_record as stored
from tuningfork.recipes.preparation import Prepared, prepare
from tuningfork.tasks.metrics import METRICS
from tuningfork.tasks.split_metrics import SPLIT_METRICS
from tuningfork.tasks.task import Task

NUM_ROWS = 40
TEXT = measured("text prompt", seed_record(0, *[1.0, 0.0] * 20), family="words")
BETTER = measured("prefix tuning", seed_record(0, *[1.0] * 40), seed_record(1, *[1.0] * 38, 0.0, 0.0))
WORSE = measured("idpg", seed_record(0, *[0.0] * 40))


@pytest.fixture
def prepared(tasks: dict[str, Task], model: FrozenModel, sink: RecordingSink) -> Prepared:
    return prepare(tasks["classification"], model, TuneOptions(), sink)


def recorded(prepared: Prepared, *contestants: ContestantRecord) -> ComparisonRecord:
    return comparison_record(plan(), prepared, contestants, {}, notes=("so it was",), seconds=3.0)


def test_every_measured_contestant_is_compared_with_the_text_prompt(prepared: Prepared) -> None:
    record = recorded(prepared, TEXT, left_out("p tuning", "no room"), BETTER, WORSE)
    by_name = {d.candidate: d for d in record.differences if d.baseline == "text prompt"}
    assert set(by_name) == {"prefix tuning", "idpg"}
    gain, loss = by_name["prefix tuning"], by_name["idpg"]
    assert (gain.verdict, loss.verdict) == ("better", "worse")
    assert gain.mean == pytest.approx(39 / 40 - 0.5)
    assert gain.low < gain.mean < gain.high
    assert gain.low > 0 > loss.high
    assert gain.num_rows == NUM_ROWS
    # Of two seeds, one was wrong in the last two rows.
    assert gain.flips_worse == (38,)
    assert gain.flips_better == tuple(range(1, NUM_ROWS, 2))
    assert loss.flips_worse == tuple(range(0, NUM_ROWS, 2))
    assert 0 <= gain.p <= gain.adjusted_p < 0.05
    assert "prefix tuning" in record.headline.lower()
    assert "so it was" in record.notes


def test_a_contestant_has_the_interval_of_its_mean_and_one_left_out_has_none(prepared: Prepared) -> None:
    text, absent, better = recorded(prepared, TEXT, left_out("p tuning", "no room"), BETTER).contestants
    assert text.low is not None
    assert text.high is not None
    assert text.low < 0.5 < text.high
    assert better.low is not None
    assert better.low > text.high - 0.1
    assert (absent.low, absent.high, absent.reason) == (None, None, "no room")


def test_without_the_text_prompt_there_is_no_verdict(prepared: Prepared) -> None:
    absent = ContestantRecord(name="text prompt", family="words", status="failed", reason="too long")
    record = recorded(prepared, absent, BETTER)
    assert record.differences == ()
    assert record.contestants[1].low is not None
    assert record.headline.startswith("Only prefix tuning was measured")


def test_the_text_prompt_alone_is_compared_with_nothing(prepared: Prepared) -> None:
    record = recorded(prepared, TEXT)
    assert record.differences == ()
    assert record.headline


def test_the_time_that_was_taken_changes_no_verdict(prepared: Prepared) -> None:
    def slow(one: ContestantRecord, seconds: float) -> ContestantRecord:
        assert one.cost is not None
        return one.model_copy(update={"cost": one.cost.model_copy(update={"seconds": seconds})})

    twins = [BETTER, BETTER.model_copy(update={"name": "twin"})]
    first, second = (
        recorded(prepared, TEXT, *(slow(*pair) for pair in zip(twins, seconds, strict=True)))
        for seconds in ((1.0, 2.0), (2.0, 1.0))
    )
    assert (first.differences, first.headline) == (second.differences, second.headline)
    assert [one.cost.seconds for one in first.contestants[1:] if one.cost] == [1.0, 2.0]


def test_rows_are_those_of_the_test_split(prepared: Prepared) -> None:
    record = recorded(prepared, TEXT)
    assert [row.inputs for row in record.rows] == [example.inputs for example in prepared.test]
    assert record.labels == tuple(prepared.task.labels or ())
    assert (record.num_train, record.num_folds) == (len(prepared.rows), 3)
    assert record.seconds == 3.0


def test_a_conversation_is_shown_as_it_was_said() -> None:
    said = Example(messages=(Message("user", "hi"), Message("assistant", "hello")), targets=("x",))
    assert _shown(said) == {"messages": "user: hi\nassistant: hello"}


def test_mean_is_over_rows_and_then_seeds() -> None:
    seeds = [seed_record(0, 1.0, 0.0), seed_record(1, 1.0, 1.0)]
    assert mean_score(seeds) == 0.75
    weighed = seeds[0].model_copy(update={"weights": (3.0, 1.0)})
    assert mean_score([weighed]) == pytest.approx(0.75)


def test_what_a_seed_answered_is_kept_but_for_losses_that_are_no_numbers() -> None:
    evaluation = Evaluation(["a", "b"], [1.0, 0.0], [0.5, 2.0], 0.1, weights=[1.0, 2.0])
    kept = stored(3, evaluation, METRICS["accuracy"])
    assert (kept.seed, kept.predictions, kept.scores) == (3, ("a", "b"), (1.0, 0.0))
    assert (kept.log_losses, kept.weights) == ((0.5, 2.0), (1.0, 2.0))
    for broken in (math.nan, math.inf):
        assert stored(3, Evaluation(["a"], [1.0], [broken], 0.1), METRICS["accuracy"]).log_losses is None
    assert type(kept).model_validate_json(kept.model_dump_json()) == kept


def test_a_metric_of_the_whole_split_is_kept_as_rows_that_add_up_to_it() -> None:
    labels, said = ("good", "bad"), ["good", "good", "bad", "good"]
    right = [("good",), ("bad",), ("bad",), ("good",)]
    evaluation = Evaluation(said, [1.0, 0.0, 1.0, 1.0], [0.1] * 4, 0.1, references=right, labels=labels)
    kept = stored(0, evaluation, SPLIT_METRICS["macro_f1"])
    assert mean_score([kept]) == pytest.approx((4 / 5 + 2 / 3) / 2)
    assert kept.scores == (1.0, 0.0, 1.0, 1.0)
    assert kept.values is not None
    assert type(kept).model_validate_json(kept.model_dump_json()) == kept


def test_probabilities_are_kept_and_further_metrics_are_made_of_what_was_kept(prepared: Prepared) -> None:
    test = list(prepared.test)[:4]
    labels = list(prepared.task.labels or ())
    right = [labels.index(example.targets[0]) for example in test]
    shares = [[0.9 if place == gold else 0.1 for place in range(2)] for gold in right]
    said = [labels[gold] for gold in right]
    evaluation = Evaluation(said, [1.0] * 4, [0.105] * 4, 0.1, probabilities=shares)
    kept = stored(0, evaluation, prepared.task.scoring)
    assert kept.probabilities == tuple(map(tuple, shares))
    by_name = {one.name: one for one in further_metrics(prepared.task, test, [kept], seed=0)}
    assert by_name["brier"].value == pytest.approx(0.02)
    assert by_name["macro_f1"].value == 1.0
    bare = kept.model_copy(update={"probabilities": None, "log_losses": None})
    without = {one.name for one in further_metrics(prepared.task, test, [bare], seed=0)}
    assert "macro_f1" in without
    assert "brier" not in without


def test_curves_hold_those_that_were_measured_at_a_size(prepared: Prepared) -> None:
    at_8 = [measured("text prompt", seed_record(0, *[0.0, 1.0] * 20)), left_out("prefix tuning", "few rows")]
    record = comparison_record(plan(), prepared, [TEXT, BETTER], {8: at_8}, notes=(), seconds=1.0)
    points = {(point.contestant, point.num_train): point for point in record.curves}
    everything = len(prepared.rows)
    assert set(points) == {("text prompt", 8), ("text prompt", everything), ("prefix tuning", everything)}
    whole = points["prefix tuning", everything]
    assert whole.mean == pytest.approx(np.mean([1.0, 0.95]))
    assert whole.num_seeds == 2
    assert whole.low < whole.mean <= whole.high
