"""Which metrics fit which type of task."""

from collections.abc import Mapping, Sequence

from tuningfork.errors import TaskError
from tuningfork.tasks.custom_metrics import check_import_path, is_custom
from tuningfork.tasks.metrics import METRICS, Metric, get_metric
from tuningfork.tasks.split_metrics import SplitMetric
from tuningfork.tasks.tag_labels import TAG_TASK, check_tags
from tuningfork.tasks.tag_metrics import is_bio

CLASSIFICATION, EXTRACTION = "classification", "extraction"
_NO_AIM = "ece"


def check_metrics(
    task_type: str,
    main: str,
    further: Sequence[str],
    margin: float | None,
    *,
    tags: Mapping[str, str] | None,
) -> None:
    """Check the metrics that a task file names, and its margin; functions of the user's are not imported.

    Raises:
        TaskError: A metric is unknown, is named twice, or does not fit the task; or no two scores differ by
            the margin.
    """
    _check("metric", main, task_type, tags)
    if main == _NO_AIM:
        raise TaskError(
            f"metric: {main} says how honest probabilities are, not how good answers are (always answering "
            "with the frequency of a label scores well); name it under metrics"
        )
    for place, name in enumerate(further):
        if name == main or name in further[:place]:
            raise TaskError(f"metrics: {name} is named twice; leave one out")
        _check("metrics", name, task_type, tags)
    if margin is not None and not is_custom(main):
        metric = get_metric(main)
        lowest = metric.minimum if isinstance(metric, SplitMetric) else 0.0
        if margin >= metric.maximum - lowest:
            raise TaskError(
                f"margin: {main} lies between {lowest:g} and {metric.maximum:g}, so no two scores differ by "
                f"more than {margin:g}; give the smallest difference that matters in these units"
            )


def default_metrics(task_type: str, tags: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """Return the metrics that say most of a task of this type, whatever its main one; best known first."""
    if task_type == CLASSIFICATION:
        return ("accuracy", "macro_f1", "mcc", "log_loss", "brier", "ece")
    if task_type == EXTRACTION:
        return ("field_f1", "exact_match", "valid_json")
    if task_type == TAG_TASK:
        return ("entity_f1", "token_accuracy") if is_bio(tags or ()) else ("token_accuracy",)
    return ("chrf", "rougeL", "exact_match", "perplexity")


def _check(field: str, name: str, task_type: str, tags: Mapping[str, str] | None) -> None:
    try:
        if is_custom(name):
            check_import_path(name)
            metric = None
        else:
            metric = get_metric(name)
    except TaskError as error:
        raise TaskError(f"{field}: {error}") from None
    if task_type == TAG_TASK:
        _check_tag_metric(field, name, metric, tags)
    elif metric is not None and metric.weight is not None:
        raise TaskError(f"{field}: {name} scores tags of words; this task is {task_type}")
    elif isinstance(metric, SplitMetric):
        if metric.needs in ("labels", "probabilities") and task_type != CLASSIFICATION:
            raise TaskError(f"{field}: {name} needs labels; this task is {task_type}")
        if name == "perplexity" and task_type == CLASSIFICATION:
            raise TaskError(f"{field}: perplexity is of answers that are written; here log_loss says as much")


def _check_tag_metric(field: str, name: str, metric: Metric | None, tags: Mapping[str, str] | None) -> None:
    if metric is None:
        fitting = ", ".join(known for known, one in METRICS.items() if one.weight is not None)
        raise TaskError(f"{field}: tags of words are scored by one of {fitting}, found {name}")
    try:
        check_tags(tags, metric)
    except TaskError as error:
        raise TaskError(str(error).replace("metric:", f"{field}:", 1)) from None
