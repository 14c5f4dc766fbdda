import pytest

from tuningfork.errors import TaskError
from tuningfork.tasks.metric_choice import check_metrics, default_metrics
from tuningfork.tasks.metrics import get_metric
from tuningfork.tasks.tag_labels import TAG_TASK

TAGS = {"O": "O", "B-X": "B-X"}


@pytest.mark.parametrize("kind", ["classification", "generation", "extraction", TAG_TASK])
def test_the_usual_metrics_fit_their_type_of_task(kind: str) -> None:
    tags = TAGS if kind == TAG_TASK else None
    names = default_metrics(kind, tags)
    for name in names:
        check_metrics(kind, names[0], [] if name == names[0] else [name], None, tags=tags)
        assert get_metric(name).name == name


@pytest.mark.parametrize(
    ("kind", "main", "further", "message"),
    [
        ("generation", "chrf", ["macro_f1"], "metrics: macro_f1 needs labels; this task is generation"),
        ("extraction", "brier", [], "metric: brier needs labels; this task is extraction"),
        ("classification", "perplexity", [], "metric: perplexity is of answers that are written"),
        ("classification", "ece", [], "metric: ece says how honest probabilities are, .* under metrics"),
        ("classification", "accuracy", ["accuracy"], "metrics: accuracy is named twice"),
        ("classification", "accuracy", ["mcc", "mcc"], "metrics: mcc is named twice"),
        ("classification", "accuracy", ["mmc"], "metrics: unknown metric 'mmc': did you mean 'mcc'"),
        ("classification", "entity_f1", [], "metric: entity_f1 scores tags of words; this task is class"),
        ("generation", "chrf", ["a b:c"], r"metrics: expected an import path such as .*, found 'a b:c'"),
        (TAG_TASK, "entity_f1", ["chrf"], "metrics: chrf scores one answer to a row"),
        (TAG_TASK, "mine:score", [], "metric: tags of words are scored by one of entity_f1, token_accuracy"),
        (TAG_TASK, "mcc", [], "metric: mcc scores one answer to a row"),
    ],
)
def test_what_does_not_fit_is_refused(kind: str, main: str, further: list[str], message: str) -> None:
    with pytest.raises(TaskError, match=f"^{message}"):
        check_metrics(kind, main, further, None, tags=TAGS if kind == TAG_TASK else None)


@pytest.mark.parametrize(
    ("main", "margin"), [("accuracy", 0.99), ("mcc", 1.9), ("chrf", 2.0), ("mine:f", 7.0)]
)
def test_margins_are_in_the_units_of_the_metric(main: str, margin: float) -> None:
    check_metrics("classification", main, [], margin, tags=None)
    if ":" not in main:
        with pytest.raises(TaskError, match=f"margin: {main} lies between"):
            check_metrics("classification", main, [], 100 * margin, tags=None)


@pytest.mark.parametrize(("main", "margin"), [("accuracy", 2.0), ("mcc", 2.0), ("chrf", 100.0)])
def test_a_margin_that_nothing_exceeds_is_refused(main: str, margin: float) -> None:
    with pytest.raises(TaskError, match=f"margin: {main} lies between .* so no two scores differ by more"):
        check_metrics("classification", main, [], margin, tags=None)
