"""What a task that tags words declares: its tags, its one variable, and a metric of tags."""

from collections.abc import Iterable, Mapping, Sequence

from tuningfork.errors import TaskError
from tuningfork.tasks.metrics import METRICS, Metric
from tuningfork.tasks.suggestions import did_you_mean
from tuningfork.tasks.tag_metrics import is_bio
from tuningfork.tasks.template import PromptTemplate, Variable

TAG_TASK = "token_classification"


def read_tags_as_labels(labels: object) -> object:
    """Return the list of tags of a task file as labels that are called what they are; else `labels`.

    Raises:
        TaskError: A tag is no text, or is there twice.
    """
    if not isinstance(labels, list):
        return labels
    for tag in labels:
        if not isinstance(tag, str):
            raise TaskError(f"labels: found {tag!r} among the tags; write tags as text, in quotes")
    twice = [tag for tag in labels if labels.count(tag) > 1]
    if twice:
        raise TaskError(f"labels: the tag {twice[0]!r} is listed twice; leave one out")
    return {tag: tag for tag in labels}


def default_metric(tags: Iterable[str]) -> str:
    """Return the metric of a task with these tags: of entities where they mark some, else of words."""
    return "entity_f1" if is_bio(tags) else "token_accuracy"


def check_tags(labels: Mapping[str, str] | None, metric: Metric) -> None:
    """Check the tags of a task and that `metric` can score them.

    Raises:
        TaskError: There are too few tags, one is not a word, or the metric is of answers, or of other tags.
    """
    if not labels or len(labels) < 2:
        raise TaskError("labels: list at least two tags, such as [O, B-PER, I-PER]")
    for tag, words in labels.items():
        if tag.split() != [tag] or words != tag:
            raise TaskError(
                f"labels: a tag is one word and is not said in others; found {tag!r}: {words!r}, expected a "
                "list of tags"
            )
    if metric.weight is None:
        fitting = ", ".join(name for name, known in METRICS.items() if known.weight is not None)
        raise TaskError(
            f"metric: {metric.name} scores one answer to a row; a {TAG_TASK} task needs one of {fitting}"
        )
    if metric.name == "entity_f1" and not is_bio(labels):
        raise TaskError(
            f"metric: entity_f1 needs tags that mark entities (O, B-TYPE, I-TYPE), found "
            f"{', '.join(labels)}; use token_accuracy"
        )


def check_tag_prompt(template: PromptTemplate, inputs: Sequence[str]) -> None:
    """Check that the prompt of a task on `inputs` ends in its one variable, which holds the words to tag.

    Raises:
        TaskError: It does not, or there are several inputs.
    """
    if len(inputs) != 1:
        raise TaskError(
            f"data.inputs: a {TAG_TASK} task has one input, the words, found {', '.join(inputs) or 'none'}"
        )
    (name,) = inputs
    if name not in template.variables:
        raise TaskError(
            f"prompt: the words to tag are missing; {did_you_mean(name, template.variables)}"
            if template.variables
            else f"prompt: no variable, so the model would not see the words; end it with {{{{{name}}}}}"
        )
    variables = [segment for segment in template.segments if isinstance(segment, Variable)]
    if len(variables) != 1 or template.segments[-1] != variables[0]:
        raise TaskError(f"prompt: the words to tag stand once, at its end; end it with {{{{{name}}}}}")
