import pytest

from tests.evaluation.report import records
from tuningfork.evaluation.report.amounts import UNKNOWN
from tuningfork.evaluation.report.ranking import ranked
from tuningfork.evaluation.report.table import (
    COST_COLUMNS,
    FURTHER_COST_COLUMNS,
    cost_columns,
    difference_lines,
    facts,
    lines,
    method_notes,
    probability,
    setting_text,
    subtitle,
)

RECORD = records.classification()
PRESENT = ranked(RECORD)


def test_a_line_says_all_that_the_table_shows() -> None:
    line = next(line for line in lines(RECORD, PRESENT) if line.one.name == "LoRA")
    assert line.score == "0.827"
    assert line.interval.startswith("[0.7")
    assert line.difference == "+0.527"
    assert line.verdict == "▲ better"
    assert line.setting == "rate 0.001, rank 8, steps 60"
    assert dict(zip(COST_COLUMNS, line.costs, strict=True)) == {
        "trained parameters": "921,600",
        "stored": "3.69 MB",
        "time to make": "2 min 23 s",
        "peak memory": "438 MB",
        "latency p50 / p95": "38 ms / 53 ms",
        "tokens/s": "2,421",
        "money per 1,000 calls": "0.0042 EUR",
    }
    further = dict(zip(FURTHER_COST_COLUMNS, line.further_costs, strict=True))
    assert further["processor"] == "4 min 17 s"
    assert further["energy"] == UNKNOWN
    assert further["held-out score"] == "0.680"


def test_the_text_prompt_is_what_others_are_compared_with() -> None:
    line = next(line for line in lines(RECORD, PRESENT) if line.one.name == "text prompt")
    assert (line.difference, line.verdict) == (UNKNOWN, "what the others are compared with")
    alone = ranked(RECORD.model_copy(update={"differences": ()}))
    assert {line.verdict for line in lines(RECORD, alone)} == {
        "what the others are compared with",
        "not compared",
    }


def test_costs_that_are_unknown_are_dashes() -> None:
    without = [each.model_copy(update={"cost": None}) for each in RECORD.contestants]
    present = ranked(RECORD.model_copy(update={"contestants": tuple(without)}))
    line = lines(RECORD, present)[0]
    assert line.costs == (UNKNOWN,) * len(cost_columns(present))
    assert len(line.further_costs) == len(FURTHER_COST_COLUMNS)


def test_money_has_a_column_where_anybodys_is_known() -> None:
    assert cost_columns(PRESENT) == COST_COLUMNS
    assert len(cost_columns(PRESENT)) == len(lines(RECORD, PRESENT)[0].costs)
    record = records.without_prices(RECORD)
    assert cost_columns(ranked(record)) == COST_COLUMNS[:-1]
    assert len(lines(record, ranked(record))[0].costs) == len(COST_COLUMNS) - 1


def test_settings_are_said_in_words() -> None:
    contestant = RECORD.contestants[0].model_copy(
        update={"setting": {"rate": 3e-05, "head": True, "tied": False, "steps": 40, "placement": "front"}}
    )
    assert setting_text(contestant) == "rate 3e-05, head yes, tied no, steps 40, placement front"


def test_differences_as_numbers() -> None:
    line = difference_lines(RECORD, PRESENT)[0]
    assert line.title == "TF-IDF + logistic regression"
    assert (line.mean, line.level, line.adjusted_p, line.covers) == ("+0.567", "95 %", "0.003", "artefact")
    assert line.flips == "34 / 0 of 60"
    assert probability(0.0004) == "<0.001"


def test_the_subtitle_says_what_was_compared() -> None:
    assert subtitle(RECORD) == (
        "ticket-routing (classification) on tuningfork/bundled, 60 test rows, 48 training rows, accuracy"
    )


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "by cross-validation over 3 folds"),
        ({"num_folds": 1}, "on rows held out of the training rows"),
        ({"num_seeds": 1, "budget_seconds": None}, "with 1 seed, for at most 90 steps."),
        ({}, "with 5 seeds, for at most 90 steps, within 2 min 0 s each."),
        ({}, "Holm's correction over all pairs of contestants, those that are not shown included"),
        ({}, "difference that matters is 0.05 accuracy"),
        ({"margin": None}, "names no margin"),
        ({"higher_is_better": False}, "lower is better"),
        ({}, "Intervals of full fine-tuning, LoRA, prefix tuning, idpg, prompt tuning speak for the method"),
        (
            {},
            "Intervals of TF-IDF + logistic regression, few-shot, text prompt, no prompt speak for the one",
        ),
    ],
)
def test_the_notes_say_how_the_figures_came_about(changes: dict[str, object], expected: str) -> None:
    notes = method_notes(RECORD.model_copy(update=changes), PRESENT)
    assert any(expected in note for note in notes), notes


def test_the_facts_identify_the_comparison() -> None:
    found = dict(facts(RECORD))
    assert found["task"] == "ticket-routing, sha256:5f0c1a"
    assert found["took"] == "13 min 23 s"
    assert found["torch"] == "2.13.0"
