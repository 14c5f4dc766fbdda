"""Assertions on what is known of an answer beside its words: time, money, labels, metrics."""

from tuningfork.errors import DataError, TaskError
from tuningfork.tasks.assertions.answer import Check, CheckedAnswer, Finding, Found, Skipped, Undecided, shown
from tuningfork.tasks.assertions.declaration import Declared, Kind
from tuningfork.tasks.metrics import get_metric
from tuningfork.tasks.suggestions import did_you_mean

_NO_EXPECTED = Skipped("the row has no expected answer to compare with")


def _read_latency(declared: Declared) -> Check:
    most = declared.number()

    def check(answer: CheckedAnswer) -> Finding:
        if answer.latency_seconds is None:
            return Skipped("latency was not measured here")
        seconds = answer.latency_seconds
        fact = f"took {seconds:.3g} s"
        if seconds <= most:
            return Found(1.0, fact)
        return Found(0.0, f"{fact}, at most {most:g} s are allowed")

    return check


def _read_cost(declared: Declared) -> Check:
    most = declared.number()

    def check(answer: CheckedAnswer) -> Finding:
        if answer.cost is None:
            return Skipped("no price is known for this prompt: give one as price in the suite")
        fact = f"costs {answer.cost:.3g}"
        if answer.cost <= most:
            return Found(1.0, fact)
        return Found(0.0, f"{fact}, at most {most:g} is allowed")

    return check


def _read_label(declared: Declared) -> Check:
    wanted = None if declared.value is None else declared.texts()

    def check(answer: CheckedAnswer) -> Finding:
        right = answer.expected if wanted is None else wanted
        if not right:
            return _NO_EXPECTED
        if unknown := _unknown_label(answer, right):
            return unknown
        if answer.text.strip() in right:
            return Found(1.0, f"label {answer.text.strip()}")
        return Found(0.0, f"expected label {' or '.join(right)}, found {shown(answer.text)}")

    return check


def _read_probability(declared: Declared) -> Check:
    least = declared.number(most=1.0)
    of = declared.options.get("of")
    wanted = None if of is None else declared.as_texts(of, ": of")

    def check(answer: CheckedAnswer) -> Finding:
        right = answer.expected[:1] if wanted is None else wanted
        if not right:
            return _NO_EXPECTED
        if answer.probabilities is None:
            return Skipped("answers of this task have no probabilities: it has no labels")
        if unknown := _unknown_label(answer, right):
            return unknown
        share = sum(answer.probabilities[label] for label in dict.fromkeys(right))
        fact = f"probability {share:.3f} of {' or '.join(right)}"
        if share >= least:
            return Found(1.0, fact)
        return Found(0.0, f"{fact}, at least {least:g} is expected")

    return check


def _unknown_label(answer: CheckedAnswer, labels: tuple[str, ...]) -> Undecided | None:
    if answer.probabilities is None:
        return None
    unknown = next((label for label in labels if label not in answer.probabilities), None)
    if unknown is None:
        return None
    return Undecided(f"{unknown!r} is no label of the task: {did_you_mean(unknown, answer.probabilities)}")


def _read_metric(declared: Declared) -> Check:
    (name,) = declared.texts()[:1]
    try:
        metric = get_metric(name)
    except TaskError as error:
        raise TaskError(f"{declared.kind}: {error}") from error
    if declared.options.get("threshold") is None:
        word = "least" if metric.higher_is_better else "most"
        raise TaskError(f"{declared.kind}: {name} needs a threshold, the {word} that is right: threshold: 40")

    def check(answer: CheckedAnswer) -> Finding:
        if not answer.expected:
            return _NO_EXPECTED
        try:
            score = metric.score(answer.text, answer.expected)
        except (DataError, ValueError, RecursionError) as error:
            return Undecided(f"{name} cannot score this answer: {error}")
        shown_score = f"{name} {score:.{metric.digits}f}"
        return Found(score if metric.higher_is_better else -score, shown_score)

    return check


MEASURED_KINDS = (
    Kind("latency", _read_latency),
    Kind("cost", _read_cost),
    Kind("label", _read_label, needs_expected=lambda declared: declared.value is None),
    Kind(
        "probability",
        _read_probability,
        frozenset({"of"}),
        needs_expected=lambda declared: declared.options.get("of") is None,
    ),
    Kind("metric", _read_metric, default_threshold=1.0, needs_expected=lambda declared: True),
)
