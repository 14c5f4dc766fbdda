"""Rules about how a prompt and its data fit."""

from collections.abc import Sequence

from tuningfork.data.example import Example
from tuningfork.data.hashing import input_digest
from tuningfork.data.rows import describe_place
from tuningfork.errors import DataError, TaskError
from tuningfork.tasks.lint.rule import Found, ModelView, Rule, Specimen, Subject
from tuningfork.tasks.suggestions import did_you_mean

_MOST_NAMED = 3


def _too_long(subject: Subject) -> Found:
    if subject.model is None or subject.model.maximum is None:
        return
    sizes = [(subject.model.num_tokens(row), row) for row in _usable(subject)]
    long = [(size, row) for size, row in sizes if size > subject.model.maximum]
    for size, row in long[:_MOST_NAMED]:
        more = f" (and {len(long) - 1} more rows)" if len(long) > 1 else ""
        yield (
            describe_place(row.source),
            f"prompt, row and answer have {size} tokens{more}; {subject.model.name} reads "
            f"{subject.model.maximum}",
        )


def _unfit(subject: Subject) -> Found:
    unfit = [(row, problem) for row in _all(subject) if (problem := _problem(subject, row)) is not None]
    for row, problem in unfit[:_MOST_NAMED]:
        more = f" (and {len(unfit) - 1} more rows)" if len(unfit) > 1 else ""
        yield describe_place(row.source), f"{problem}{more}"


def _problem(subject: Subject, row: Example) -> str | None:
    assert subject.task is not None
    if subject.labels and row.targets and row.targets[0] not in subject.labels:
        return f"target {row.targets[0]!r:.60} is no label: {did_you_mean(row.targets[0], subject.labels)}"
    if subject.task.is_conversation:
        return None
    try:
        subject.task.template.filled(row.inputs)
    except (DataError, TaskError) as error:
        return str(error)
    return None


def _all(subject: Subject) -> Sequence[Example]:
    return [*(subject.rows or ()), *subject.tested]


def _usable(subject: Subject) -> list[Example]:
    return [row for row in _all(subject) if _problem(subject, row) is None]


def _empty(subject: Subject) -> Found:
    assert subject.task is not None
    for name in subject.names:
        rows = [row for row in subject.rows or () if not row.inputs.get(name, "").strip()]
        if len(rows) > len(subject.rows or ()) / 2 and not subject.task.template.is_optional(name):
            yield f"data.inputs.{name}", f"is empty in {len(rows)} of {len(subject.rows or ())} rows"


def _shown_in_test(subject: Subject) -> Found:
    assert subject.task is not None
    tested = {input_digest(row): row for row in subject.tested}
    for number, shown in enumerate(subject.task.shown_examples, start=1):
        if (row := tested.get(input_digest(shown))) is not None:
            yield (
                f"demonstrations {number}",
                f"is also a test row ({describe_place(row.source)}), whose answer the prompt gives away",
            )


def _row(text: str, line: int = 1) -> Example:
    return Example({"message": text}, ("billing",), source=f"rows.jsonl:{line}")


_SMALL = ModelView("a model", {}, 9, lambda row: 4 + len(row.inputs["message"].split()))
_SHOWN = {"demonstrations": [{"inputs": {"message": "pay me"}, "target": "billing"}]}
ROWS = (
    Rule(
        "over-long",
        "error",
        "rows that do not fit the model behind the prompt (with `--data`)",
        _too_long,
        Specimen({}, rows=[_row("one two three four five six")], model=_SMALL),
        Specimen({}, rows=[_row("one two three four five")], model=_SMALL),
    ),
    Rule(
        "unfit-row",
        "error",
        "rows that are not what the task says of its variables and labels (with `--data`)",
        _unfit,
        Specimen({"variables": {"message": {"max_length": 5}}}, rows=[_row("short"), _row("longer", 2)]),
        Specimen({"variables": {"message": {"max_length": 6}}}, rows=[_row("short"), _row("longer", 2)]),
    ),
    Rule(
        "empty-variable",
        "warning",
        "a variable that is empty in most rows (with `--data`)",
        _empty,
        Specimen({}, rows=[_row("a"), _row(" "), _row("")]),
        Specimen({}, rows=[_row("a"), _row("")]),
    ),
    Rule(
        "shown-test-row",
        "error",
        "an example in the prompt that is a test row (with `--data`)",
        _shown_in_test,
        Specimen(_SHOWN, rows=[], tested=[_row("Pay  me")]),
        Specimen(_SHOWN, rows=[_row("pay me")], tested=[_row("pay them")]),
    ),
)
