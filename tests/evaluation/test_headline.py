from dataclasses import replace
from typing import Any

import pytest

from tuningfork.evaluation.comparison import (
    TEXT_PROMPT,
    ContestantRecord,
    DifferenceRecord,
    Family,
    SeedRecord,
)
from tuningfork.evaluation.headline import Findings, difference_sentence, headline
from tuningfork.evaluation.pivots import Interval
from tuningfork.evaluation.statistics import Verdict

CLASSICAL = "TF-IDF + logistic regression"


def record(
    candidate: str, baseline: str, verdict: Verdict, mean: float = 0.21, **changes: Any
) -> DifferenceRecord:
    fields: dict[str, Any] = {
        "candidate": candidate,
        "baseline": baseline,
        "mean": mean,
        "low": mean - 0.08,
        "high": mean + 0.08,
        "level": 0.95,
        "covers": "method",
        "num_rows": 120,
        "p": 0.01,
        "adjusted_p": 0.03,
        "equivalence_low": mean - 0.06,
        "equivalence_high": mean + 0.06,
        "verdict": verdict,
        "needed_rows": 880,
        "sentence": "",
    }
    return DifferenceRecord(**(fields | changes))


def found(
    means: dict[str, float], differences: list[DifferenceRecord], *, seeds: int = 5, digits: int = 3
) -> Findings:
    """Findings of contestants in the order of `means`, best first."""

    def contestant(name: str) -> ContestantRecord:
        family: Family = "classical" if name == CLASSICAL else "words" if name == TEXT_PROMPT else "soft"
        count = seeds if family == "soft" else 1
        one = SeedRecord(seed=0, predictions=("",) * 120, scores=(0.0,) * 120)
        return ContestantRecord(name=name, family=family, status="measured", seeds=(one,) * count)

    return Findings(
        contestants={name: contestant(name) for name in means},
        means=means,
        intervals={name: Interval(mean - 0.09, mean + 0.09, 0.95) for name, mean in means.items()},
        differences=tuple(differences),
        metric_name="accuracy",
        digits=digits,
    )


def test_the_best_is_better_than_the_text_prompt_and_hard_to_tell_from_another() -> None:
    findings = found(
        {"prompt tuning": 0.49, "LoRA": 0.47, TEXT_PROMPT: 0.28},
        [
            record("prompt tuning", TEXT_PROMPT, "better"),
            record("LoRA", TEXT_PROMPT, "better", 0.19),
            record("prompt tuning", "LoRA", "not enough data", 0.02),
        ],
    )
    assert headline(findings) == (
        "Prompt tuning did best: accuracy 0.49, better than the text prompt by 0.21 (95 % interval 0.13 to "
        "0.29, n = 120 test rows, 5 seeds). There is not enough data to tell prompt tuning from LoRA (about "
        "880 test rows would be needed)."
    )


def test_a_method_that_did_best_untrained_is_said_to_be() -> None:
    findings = found(
        {"prompt tuning": 0.56, "prefix tuning": 0.55, TEXT_PROMPT: 0.53},
        [
            record("prompt tuning", TEXT_PROMPT, "not enough data", 0.03),
            record("prefix tuning", TEXT_PROMPT, "not enough data", 0.02),
            record("prompt tuning", "prefix tuning", "not enough data", 0.01),
        ],
        seeds=1,
    )
    start = {"setting": {"steps": 0}}
    contestants = {
        name: one if name == TEXT_PROMPT else one.model_copy(update=start)
        for name, one in findings.contestants.items()
    }
    assert headline(replace(findings, contestants=contestants)) == (
        "Nothing is shown to be better than the text prompt. Prompt tuning, which held-out rows chose "
        "untrained, did best, accuracy 0.56 against 0.53, but there is not enough data to tell them apart "
        "(n = 120 test rows; about 880 test rows would be needed). There is not enough data to tell prompt "
        "tuning from prefix tuning (untrained; about 880 test rows would be needed)."
    )


def test_a_classical_model_that_wins_is_said_to_use_no_language_model() -> None:
    findings = found(
        {CLASSICAL: 0.6, "prompt tuning": 0.49, TEXT_PROMPT: 0.28},
        [
            record(CLASSICAL, TEXT_PROMPT, "better", 0.32),
            record("prompt tuning", TEXT_PROMPT, "better"),
            record(CLASSICAL, "prompt tuning", "better", 0.11),
        ],
    )
    assert headline(findings) == (
        "TF-IDF + logistic regression, which uses no language model, did best: accuracy 0.60, better than "
        "the text prompt by 0.32 (95 % interval 0.24 to 0.40, n = 120 test rows). With the language model, "
        "prompt tuning is better than the text prompt by 0.21 (95 % interval 0.13 to 0.29, n = 120 test "
        "rows, 5 seeds). TF-IDF + logistic regression is better than prompt tuning."
    )
    nothing = found(
        {CLASSICAL: 0.6, "prompt tuning": 0.3, TEXT_PROMPT: 0.28},
        [
            record(CLASSICAL, TEXT_PROMPT, "better", 0.32),
            record("prompt tuning", TEXT_PROMPT, "not enough data", 0.02),
            record(CLASSICAL, "prompt tuning", "better", 0.3),
        ],
    )
    expected = "With the language model, nothing is shown to be better than the text prompt."
    assert expected in headline(nothing)


def test_a_classical_model_that_may_be_as_good_is_named_too() -> None:
    findings = found(
        {"prompt tuning": 0.49, CLASSICAL: 0.48, TEXT_PROMPT: 0.28},
        [
            record("prompt tuning", TEXT_PROMPT, "better"),
            record(CLASSICAL, TEXT_PROMPT, "better"),
            record("prompt tuning", CLASSICAL, "not enough data", 0.01),
        ],
    )
    assert headline(findings).endswith(
        "There is not enough data to tell prompt tuning from TF-IDF + logistic regression (uses no language "
        "model; about 880 test rows would be needed)."
    )


def test_nothing_beats_the_text_prompt() -> None:
    findings = found(
        {TEXT_PROMPT: 0.6, "LoRA": 0.55, "prompt tuning": 0.2},
        [
            record("LoRA", TEXT_PROMPT, "not enough data", -0.05, needed_rows=None, needed_seeds=12),
            record("prompt tuning", TEXT_PROMPT, "worse", -0.4),
            record("LoRA", "prompt tuning", "better", 0.35),
        ],
    )
    assert headline(findings) == (
        "Nothing did better than the text prompt: accuracy 0.60 (95 % interval 0.51 to 0.69, n = 120 test "
        "rows). There is not enough data to tell the text prompt from LoRA (more test rows alone would not "
        "do: about 12 seeds would be needed)."
    )


def test_the_text_prompt_is_better_than_all_others() -> None:
    differences = [record("LoRA", TEXT_PROMPT, "worse", -0.3)]
    assert headline(found({TEXT_PROMPT: 0.6, "LoRA": 0.3}, differences)).endswith(
        "The text prompt is better than LoRA."
    )


def test_nothing_is_shown_to_be_better() -> None:
    differences = [record("LoRA", TEXT_PROMPT, "not enough data", 0.04)]
    assert headline(found({"LoRA": 0.64, TEXT_PROMPT: 0.6}, differences)) == (
        "Nothing is shown to be better than the text prompt. LoRA did best, accuracy 0.64 against 0.60, but "
        "there is not enough data to tell them apart (n = 120 test rows, 5 seeds; about 880 test rows would "
        "be needed)."
    )


def test_another_than_the_best_may_be_the_one_that_is_shown_to_be_better() -> None:
    findings = found(
        {"LoRA": 0.66, "prompt tuning": 0.64, TEXT_PROMPT: 0.5},
        [
            record("LoRA", TEXT_PROMPT, "not enough data", 0.16),
            record("prompt tuning", TEXT_PROMPT, "better", 0.14),
            record("LoRA", "prompt tuning", "not enough data", 0.02),
        ],
    )
    assert headline(findings).startswith(
        "Prompt tuning is better than the text prompt by 0.14 (95 % interval 0.06 to 0.22, n = 120 test "
        "rows, 5 seeds). LoRA did best, 0.66, but there is not enough data to tell it from the text prompt "
        "(about 880 test rows would be needed)."
    )


def test_as_good_as_the_text_prompt() -> None:
    same = {"equivalence_low": -0.01, "equivalence_high": 0.02, "margin": 0.03}
    differences = [record("LoRA", TEXT_PROMPT, "equivalent", 0.005, **same)]
    text = headline(found({"LoRA": 0.505, TEXT_PROMPT: 0.5}, differences))
    assert text.endswith("The text prompt is as good, within the margin of 0.03.")


def test_many_that_cannot_be_told_apart_are_counted() -> None:
    names = [f"method {number}" for number in range(6)]
    differences = [record(name, TEXT_PROMPT, "better") for name in names]
    differences += [record(names[0], name, "not enough data", 0.0, needed_rows=None) for name in names[1:]]
    text = headline(found(dict.fromkeys([*names, TEXT_PROMPT], 0.5), differences))
    assert "method 3 (no number of test rows" in text
    assert text.endswith("and 2 others.")
    assert "method 4" not in text


def test_nothing_to_compare() -> None:
    assert headline(found({}, [])).startswith("No contestant was measured")
    only = headline(found({"LoRA": 0.5}, []))
    assert only == (
        "Only LoRA was measured: accuracy 0.50 (95 % interval 0.41 to 0.59, n = 120 test rows, 5 seeds)."
    )
    without_text = found({"LoRA": 0.5, "IDPG": 0.3}, [record("LoRA", "IDPG", "better", 0.2)])
    assert headline(without_text).startswith("LoRA did best: accuracy 0.50")
    assert headline(without_text).endswith("LoRA is better than IDPG.")


def test_many_rows_show_a_digit_more() -> None:
    differences = [record("LoRA", TEXT_PROMPT, "better", 0.0123, num_rows=5000, low=0.004, high=0.02)]
    assert "by 0.012 (95 % interval 0.004 to 0.020" in headline(
        found({"LoRA": 0.51, TEXT_PROMPT: 0.5}, differences)
    )
    chrf = found({"LoRA": 61.0, TEXT_PROMPT: 55.0}, [record("LoRA", TEXT_PROMPT, "better", 6.0)], digits=1)
    assert "did best: accuracy 61.0, better than the text prompt by 6.0" in headline(chrf)


@pytest.mark.parametrize(
    ("difference", "expected"),
    [
        (
            record("LoRA", TEXT_PROMPT, "better"),
            "LoRA is better than the text prompt: +0.210 accuracy, 95 % interval [+0.130, +0.290], n = 120.",
        ),
        (
            record("LoRA", "IDPG", "equivalent", 0.01, margin=0.1),
            "LoRA and IDPG are equivalent: +0.010 accuracy, 90 % interval [-0.050, +0.070], margin 0.1, "
            "n = 120.",
        ),
        (
            record("LoRA", "IDPG", "not enough data", 0.1, adjusted_p=0.14),
            "Not enough data to tell LoRA from IDPG: +0.100 accuracy, 95 % interval [+0.020, +0.180], "
            "n = 120, but p = 0.14 after correction for 6 pairs; about 880 test rows would be needed.",
        ),
        (
            record("LoRA", "IDPG", "not enough data", 0.01, needed_rows=5_000_000),
            "Not enough data to tell LoRA from IDPG: +0.010 accuracy, 95 % interval [-0.070, +0.090], "
            "n = 120; more than a million test rows would be needed.",
        ),
        (
            record("LoRA", "IDPG", "not enough data", 0.01, needed_rows=456, needed_seeds=7),
            "Not enough data to tell LoRA from IDPG: +0.010 accuracy, 95 % interval [-0.070, +0.090], "
            "n = 120; about 460 test rows, or 7 seeds, would be needed.",
        ),
        (
            record("LoRA", "IDPG", "not enough data", 0.01, needed_rows=None),
            "Not enough data to tell LoRA from IDPG: +0.010 accuracy, 95 % interval [-0.070, +0.090], "
            "n = 120; more test rows and seeds are needed.",
        ),
    ],
)
def test_a_difference_as_a_sentence(difference: DifferenceRecord, expected: str) -> None:
    assert difference_sentence(difference, "accuracy", 3, 6) == expected
