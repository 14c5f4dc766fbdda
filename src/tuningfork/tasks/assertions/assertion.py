"""Assertions read from a file, and checked on answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tuningfork.errors import TaskError
from tuningfork.tasks.assertions.answer import (
    Check,
    Checked,
    CheckedAnswer,
    Found,
    Outcome,
    Skipped,
    Undecided,
    shown,
)
from tuningfork.tasks.assertions.custom import CUSTOM_KINDS
from tuningfork.tasks.assertions.declaration import Declared, Kind, Source
from tuningfork.tasks.assertions.json_answers import JSON_KINDS
from tuningfork.tasks.assertions.languages import LANGUAGE_KINDS
from tuningfork.tasks.assertions.measured import MEASURED_KINDS
from tuningfork.tasks.assertions.texts import TEXT_KINDS
from tuningfork.tasks.suggestions import did_you_mean

KINDS: dict[str, Kind] = {
    kind.name: kind for kind in (*TEXT_KINDS, *JSON_KINDS, *LANGUAGE_KINDS, *MEASURED_KINDS, *CUSTOM_KINDS)
}

_NEGATED = "not_"
_OWN_OPTIONS = frozenset({"weight", "threshold", "not"})


@dataclass(frozen=True, slots=True)
class Assertion:
    """One thing that must hold of an answer."""

    kind: str
    title: str
    """The assertion in a few words."""
    check: Check
    weight: float = 1.0
    threshold: float | None = None
    """The score from which a graded kind passes."""
    is_negated: bool = False
    needs_expected: bool = False

    def outcome(self, answer: CheckedAnswer) -> Outcome:
        """Check `answer`; never raises for any text."""
        finding = self.check(answer)
        if isinstance(finding, Skipped):
            return Outcome(self.title, "skipped", finding.reason, self.weight)
        if isinstance(finding, Undecided):
            return Outcome(self.title, "failed", finding.reason, self.weight)
        holds = finding.score >= (1.0 if self.threshold is None else self.threshold)
        return Outcome(
            self.title,
            "passed" if holds != self.is_negated else "failed",
            self._reason(finding, holds=holds),
            self.weight,
        )

    def _reason(self, finding: Found, *, holds: bool) -> str:
        if holds:
            return f"{finding.says}, which must not be" if self.is_negated else finding.says
        if self.kind == "metric" and not self.is_negated:
            return f"{finding.says}, expected {abs(self.threshold or 0.0):g}"
        return finding.says


def read_assertion(declared: object, source: Source) -> Assertion:
    """Return the assertion that `declared`, a mapping as YAML gives it, says.

    One key is the kind and its value what the kind needs; the others are options: `{contains: tea, weight:
    2}`. `not: true`, or `not_` before the kind, inverts it.

    Raises:
        TaskError: The kind or an option is unknown, or a value is not what the kind needs.
    """
    if not isinstance(declared, dict) or not declared:
        raise TaskError(f"expected a kind and what it needs, as in contains: tea; found {declared!r:.60}")
    name, kind, is_negated = _kind_of(declared)
    allowed = kind.options | _OWN_OPTIONS - ({"threshold"} if kind.default_threshold is None else set())
    for option in declared:
        if option != name and option not in allowed:
            if option == "threshold":
                raise TaskError(f"{name}: threshold: only graded kinds have one, this one holds or does not")
            raise TaskError(
                f"{name}: unknown option {option!r}: {did_you_mean(str(option), sorted(allowed))}"
            )
    options = {str(option): value for option, value in declared.items() if option != name}
    own = Declared(name, declared[name], options, source)
    own = replace(own, value=kind.value_without_file(own))
    weight = own.as_number(options.get("weight", 1.0), ": weight")
    if weight == 0:
        raise TaskError(f"{name}: weight: expected a number above 0, found 0")
    is_negated ^= own.flag("not")
    threshold = _threshold(own, kind)
    return Assertion(
        kind=kind.name,
        title=_title(kind.name, own, is_negated=is_negated),
        check=kind.read(own),
        weight=weight,
        threshold=threshold,
        is_negated=is_negated,
        needs_expected=kind.needs_expected(own),
    )


def read_assertions(declared: object, source: Source) -> tuple[Assertion, ...]:
    """Return the assertions of a list.

    Raises:
        TaskError: It is no list, or one of them cannot be read; the message says which.
    """
    if not isinstance(declared, list):
        raise TaskError(f"assertions: expected a list, as in [{{contains: tea}}]; found {declared!r:.60}")
    found = []
    for number, one in enumerate(declared, start=1):
        try:
            found.append(read_assertion(one, source))
        except TaskError as error:
            raise TaskError(f"assertion {number}: {error}") from error
    return tuple(found)


def inline_files(declared: object, folder: Path) -> object:
    """Return `declared` assertions with what the files in `folder` say in place of their names.

    What is not an assertion stays as it is, for `read_assertions` to refuse.

    Raises:
        TaskError: A file is not in `folder`, or cannot be used; the message says which assertion names it.
    """
    if not isinstance(declared, list):
        return declared
    found: list[object] = []
    for number, one in enumerate(declared, start=1):
        name = next((key for key in one if _bare(key) in KINDS), None) if isinstance(one, dict) else None
        if name is None:
            found.append(one)
            continue
        try:
            value = KINDS[_bare(name)].value_without_file(Declared(name, one[name], {}, Source(folder)))
        except TaskError as error:
            raise TaskError(f"assertion {number}: {error}") from error
        found.append({**one, name: value})
    return found


def _bare(name: object) -> str:
    return str(name).removeprefix(_NEGATED)


def check_answer(
    answer: CheckedAnswer, assertions: Sequence[Assertion], *, threshold: float = 1.0
) -> Checked:
    """Check `answer` by all `assertions`.

    It passes where the weighted share of the assertions that hold, among those that could be checked, is at
    least `threshold`.
    """
    outcomes = tuple(assertion.outcome(answer) for assertion in assertions)
    counted = [outcome for outcome in outcomes if outcome.status != "skipped"]
    if not counted:
        return Checked("skipped", None, threshold, outcomes)
    passed = sum(outcome.weight for outcome in counted if outcome.status == "passed")
    total = sum(outcome.weight for outcome in counted)
    # A share of weights such as 0.1 + 0.2 of 0.3 is rounded.
    score = 1.0 if all(outcome.status == "passed" for outcome in counted) else passed / total
    return Checked("passed" if score >= threshold - 1e-12 else "failed", score, threshold, outcomes)


def _kind_of(declared: Mapping[object, object]) -> tuple[str, Kind, bool]:
    named = [
        (key, KINDS[bare], bare != key)
        for key in declared
        if isinstance(key, str) and (bare := _bare(key)) in KINDS
    ]
    if len(named) > 1:
        raise TaskError(f"expected one kind, found {' and '.join(key for key, _, _ in named)}; write two")
    if not named:
        unknown = next((key for key in declared if key not in _OWN_OPTIONS), next(iter(declared)))
        raise TaskError(f"unknown kind {unknown!r}: {_did_you_mean_kind(str(unknown))}")
    return named[0]


def _did_you_mean_kind(name: str) -> str:
    negated = [_NEGATED + kind for kind in KINDS] if name.startswith("not") else []
    hint = did_you_mean(name, [*KINDS, *negated])
    return hint if hint.startswith("did") else f"known: {', '.join(KINDS)}"


def _threshold(declared: Declared, kind: Kind) -> float | None:
    given = declared.options.get("threshold", kind.default_threshold)
    if given is None:
        return None
    threshold = declared.as_number(given, ": threshold")
    return -threshold if kind.name == "metric" and _is_loss(declared) else threshold


def _is_loss(declared: Declared) -> bool:
    from tuningfork.tasks.metrics import METRICS

    metric = METRICS.get(declared.value) if isinstance(declared.value, str) else None
    return metric is not None and not metric.higher_is_better


def _title(kind: str, declared: Declared, *, is_negated: bool) -> str:
    words = kind.replace("_", " ")
    value = declared.value
    if isinstance(value, dict):
        value = None if kind == "json_schema" else ", ".join(f"{name} {part}" for name, part in value.items())
    elif isinstance(value, list):
        value = ", ".join(map(str, value))
    shown_value = "" if value in (None, True) else f" {shown(str(value), 40)[1:-1]}"
    if kind == "metric" and "threshold" in declared.options:
        shown_value += f" {declared.options['threshold']}"
    return f"{'not ' if is_negated else ''}{words}{shown_value}"
