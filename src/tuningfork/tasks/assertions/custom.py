"""Assertions in Python of the user's own."""

import math
from typing import Any

from tuningfork.errors import TaskError
from tuningfork.tasks.assertions.answer import Check, CheckedAnswer, Finding, Found, Undecided
from tuningfork.tasks.assertions.declaration import Declared, Kind
from tuningfork.tasks.trusted_code import check_callable_path, load_callable


def _read_custom(declared: Declared) -> Check:
    (path,) = declared.texts()[:1]
    options = declared.options.get("options", {})
    if not isinstance(options, dict) or not all(isinstance(name, str) for name in options):
        raise TaskError(f"custom: options: expected names with values, found {options!r:.60}")
    try:
        if declared.source.folder is None:
            check_callable_path(path)
            return lambda answer: Undecided(f"{path} is not loaded")
        function = load_callable(path, declared.source.folder, trusted=declared.source.trusted)
    except TaskError as error:
        raise TaskError(f"custom: {error}") from error

    def check(answer: CheckedAnswer) -> Finding:
        try:
            return _finding(path, function(answer.text, known(answer), **options))
        except Exception as error:
            # Code of the user may raise anything; one answer must not end the whole check.
            problem = " ".join(str(error).split())
            return Undecided(f"{path} raised {type(error).__name__}: {problem}"[:200])

    return check


def known(answer: CheckedAnswer) -> dict[str, Any]:
    """What a function is given beside the text of the answer."""
    return {
        "inputs": dict(answer.inputs),
        "expected": list(answer.expected),
        "probabilities": None if answer.probabilities is None else dict(answer.probabilities),
        "latency_seconds": answer.latency_seconds,
        "cost": answer.cost,
    }


def _finding(path: str, result: object) -> Finding:
    value, reason = result if isinstance(result, tuple) and len(result) == 2 else (result, "")
    says = " ".join(str(reason).split())[:200]
    if isinstance(value, bool):
        return Found(float(value), says or f"{path} says {'yes' if value else 'no'}")
    if isinstance(value, int | float) and math.isfinite(value):
        return Found(float(value), f"{says} ({value:.3g})" if says else f"{path} gives {value:.3g}")
    return Undecided(
        f"{path} must return True, False or a number, perhaps with a reason; it returned {result!r:.60}"
    )


CUSTOM_KINDS = (Kind("custom", _read_custom, frozenset({"options"}), default_threshold=1.0),)
