from typing import Any

import pytest

from tests.library.gates.moves import moving
from tests.library.measured import evaluation_of, evidence_from, measure, record, row_keys
from tests.library.prompts import LINEAGE, add, content_of
from tests.library.test_stored_scores import answered
from tuningfork.errors import GateError
from tuningfork.library.aliases import MoveRequest
from tuningfork.library.canonical import hash_bytes
from tuningfork.library.contents import VersionRecord
from tuningfork.library.gates.gate import GateResult
from tuningfork.library.gates.no_worse import NoWorseGate
from tuningfork.library.store import Library

GATE = NoWorseGate()
HALF = [1.0, 0.0] * 50


def judged(
    library: Library, candidate: VersionRecord, current: VersionRecord | None, **settings: Any
) -> GateResult:
    GATE.check_settings(settings)
    with moving(library, candidate, current) as move:
        return GATE.judge(move, settings)


def two(library: Library, **fields: Any) -> tuple[VersionRecord, VersionRecord]:
    return add(library, **fields), add(library, tensors=b"candidate", **fields)


def with_task(library: Library, tensors: bytes, task: str) -> VersionRecord:
    files = {"prompt.safetensors": tensors, "task.yaml": task.encode()}
    content = content_of(files={path: hash_bytes(found) for path, found in files.items()})
    return library.register("shop/tickets", content, files, LINEAGE, author="ann")


@pytest.mark.parametrize(
    ("change", "margin", "passes"),
    [
        (20, 0.0, True),
        (20, 0.1, True),
        (0, 0.0, False),
        (0, 0.02, False),
        (0, 0.05, True),
        (-4, 0.05, False),
        (-4, 0.2, True),
        (-30, 0.2, False),
        (-30, 0.5, True),
    ],
)
def test_a_loss_beyond_the_margin_must_be_ruled_out(
    library: Library, change: int, margin: float, passes: bool
) -> None:
    current, candidate = two(library)
    wrong, right = [place for place in range(100) if place % 2], [p for p in range(100) if not p % 2]
    scores = list(HALF)
    for place in wrong[: max(change, 0)]:
        scores[place] = 1.0
    for place in right[: max(-change, 0)]:
        scores[place] = 0.0
    measure(library, current, HALF)
    measure(library, candidate, scores)
    result = judged(library, candidate, current, margin=margin)
    assert result.passed == passes, result.reason
    assert result.figures is not None
    assert result.figures["gain"] == pytest.approx(change / 100)
    assert result.figures["low"] <= change / 100 <= result.figures["high"]
    assert (result.figures["low"] >= -margin) == passes


def test_pairs_of_rows_decide_not_the_means(library: Library) -> None:
    current, candidate = two(library)
    measure(library, current, HALF)
    measure(library, candidate, HALF[::-1])
    result = judged(library, candidate, current, margin=0.05)
    assert not result.passed
    assert result.figures is not None
    assert result.figures["gain"] == 0
    assert result.figures["low"] < -0.15


def test_lower_may_be_better(library: Library) -> None:
    current, candidate = two(library)

    def losses(version: VersionRecord, nats: float) -> None:
        rows = [
            {"row": key, "score": loss, "log_loss": loss}
            for key, loss in ((key, nats * (1 + place % 7 / 100)) for place, key in enumerate(row_keys(60)))
        ]
        record(library, version, evidence_from(version, "evaluation", rows, metric="log_loss"))

    losses(current, 0.5)
    losses(candidate, 0.4)
    better = judged(library, candidate, current)
    assert better.passed
    assert "log_loss gains 0.103 against shop/tickets@1" in better.reason
    worse = judged(library, current, candidate, margin=0.05)
    assert not worse.passed
    assert worse.reason.endswith("a loss of more than 0.05 is not ruled out; it is worse")


def test_metrics_of_the_whole_set_are_compared_as_such(library: Library) -> None:
    current, candidate = two(library)
    right = ["good"] * 80 + ["bad"] * 20
    always = ["good"] * 100
    finds = ["good"] * 60 + ["bad"] * 40
    for version, said in ((current, always), (candidate, finds)):
        record(library, version, answered(said, right, version=version))
    result = judged(library, candidate, current)
    assert result.passed, result.reason
    assert result.figures is not None
    # The candidate has as many right answers: only the mean over labels tells them apart.
    assert result.figures["gain"] == pytest.approx(0.762 - 0.444, abs=0.001)


def test_rows_may_weigh_differently(library: Library) -> None:
    current, candidate = two(library)

    def weighed(version: VersionRecord, heavy: float, light: float) -> None:
        rows = [
            {"row": key, "score": heavy if place < 10 else light, "weight": 9.0 if place < 10 else 1.0}
            for place, key in enumerate(row_keys(100))
        ]
        record(library, version, evidence_from(version, "evaluation", rows, metric="token_f1"))

    weighed(current, 0.5, 0.5)
    weighed(candidate, 0.9, 0.4)
    result = judged(library, candidate, current, margin=0.5)
    assert result.figures is not None
    assert result.figures["gain"] == pytest.approx((90 * 0.9 + 90 * 0.4) / 180 - 0.5)


def test_the_first_version_is_worse_than_nothing_else(library: Library) -> None:
    result = judged(library, add(library), None)
    assert result.passed
    assert result.reason == "nothing was production yet, so there is nothing to be worse than"


def test_removing_the_alias_does_not_make_it_the_first(library: Library) -> None:
    current, candidate = two(library)
    library.set_policy(None, "production", {}, actor="ann")
    library.move_alias(MoveRequest("shop/tickets", "production", 1, "ann"))
    library.move_alias(MoveRequest("shop/tickets", "production", None, "ann"))
    measure(library, current, HALF)
    measure(library, candidate, [0.0] * 100)
    result = judged(library, candidate, None)
    assert not result.passed
    assert "against shop/tickets@1" in result.reason
    library.revoke("shop/tickets@1", actor="ann", reason="rude")
    assert judged(library, candidate, None).passed


def test_the_same_content_is_no_worse(library: Library) -> None:
    one = add(library)
    again = add(library, lineage=LINEAGE.model_copy(update={"run": "elsewhere"}))
    assert again.number == 2
    assert judged(library, again, one).reason == "the same content as shop/tickets@1"


def test_both_are_measured_on_the_same_frozen_set(library: Library) -> None:
    current, candidate = two(library)
    measure(library, candidate, HALF)
    with pytest.raises(
        GateError, match=r"no evaluation of shop/tickets@1 .* by accuracy on shop/tickets-test"
    ):
        judged(library, candidate, current)
    measure(library, current, HALF, name="others")
    with pytest.raises(GateError, match="no evaluation of shop/tickets@2") as told:
        judged(library, candidate, current)
    assert "evidence add shop/tickets@2 --rows" in str(told.value)
    measure(library, candidate, HALF, name="others")
    assert judged(library, candidate, current, margin=0.05).passed


@pytest.mark.parametrize("names", [("easy", "hard"), ("hard", "easy")])
def test_no_set_on_which_the_current_one_was_measured_is_left_out(
    library: Library, names: tuple[str, str]
) -> None:
    current, candidate = two(library)
    for name in names:
        scores = [float(name == "easy")] * 100
        measure(library, current, [1.0] * 100, name=name)
        measure(library, candidate, scores, name=name)
    assert not judged(library, candidate, current, margin=0.5).passed
    easy = next(
        one.dataset
        for one in library.evidence(candidate.reference)
        if one.dataset is not None and one.summary["accuracy"] == 1
    )
    assert judged(library, candidate, current, margin=0.5, test_set=easy).passed


def test_a_set_that_thaws_nobody_knows_how_is_none(library: Library) -> None:
    current, candidate = two(library)
    for version in (current, candidate):
        record(library, version, evaluation_of(version, HALF), freezes=False)
    with pytest.raises(GateError, match="is not frozen; freeze it with"):
        judged(library, candidate, current)


@pytest.mark.parametrize(
    ("margins", "passes"),
    [((0.1, 0.1), True), ((0.1, None), False), ((None, 0.1), False), ((0.5, 0.01), False)],
)
def test_the_margin_is_the_smaller_of_both_tasks(
    library: Library, margins: tuple[float | None, float | None], passes: bool
) -> None:
    versions = [
        with_task(library, bytes([place]), f"metric: accuracy\nmargin: {margin or 'null'}\n")
        for place, margin in enumerate(margins)
    ]
    for version in versions:
        measure(library, version, HALF)
    current, candidate = versions
    assert judged(library, candidate, current).passed == passes
    assert judged(library, candidate, current, margin=0.05).passed


def test_the_metric_is_that_of_the_candidate_s_task(library: Library) -> None:
    current = with_task(library, b"1", "metric: accuracy\n")
    candidate = with_task(library, b"2", "metric: exact_match\n")
    measure(library, current, HALF)
    measure(library, candidate, HALF)
    with pytest.raises(GateError, match=r"no evaluation of shop/tickets@2 .* by exact_match on"):
        judged(library, candidate, current)
    measure(library, candidate, HALF, metric="exact_match")
    with pytest.raises(GateError, match=r"no evaluation of shop/tickets@1 .* by exact_match on"):
        judged(library, candidate, current)
    measure(library, current, HALF, metric="exact_match")
    assert judged(library, candidate, current, margin=0.05).passed


def test_nobody_can_ask_again_until_it_passes(library: Library) -> None:
    current, candidate = two(library)
    rows = [{"row": key, "score": (place * 7 % 10) / 10} for place, key in enumerate(row_keys(40))]
    other = [{"row": key, "score": (place * 3 % 10) / 10} for place, key in enumerate(row_keys(40))]
    record(library, current, evidence_from(current, "evaluation", rows, metric="token_f1"))
    record(library, candidate, evidence_from(candidate, "evaluation", other, metric="token_f1"))
    assert judged(library, candidate, current) == judged(library, candidate, current)
