"""Metrics of the user's own: functions named in a task file by an import path.

Importing a module runs it, and a task file may come from anybody, so nothing is imported until the user has
said that it may be.
"""

import importlib
import inspect
import math
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.machinery import PathFinder
from numbers import Real
from pathlib import Path
from types import ModuleType
from typing import Any

from tuningfork.errors import TaskError
from tuningfork.tasks.metrics import Metric, Score
from tuningfork.tasks.suggestions import did_you_mean
from tuningfork.tasks.trusted_code import TRUST_VARIABLE, is_trusted

_PATH = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")
_SHOWN = 60


def is_custom(name: str) -> bool:
    """Return whether a metric's name is that of a function to import: `package.module:function`."""
    return ":" in name


def check_import_path(name: str) -> None:
    """Check that `name` can name a function, without importing anything.

    Raises:
        TaskError: It cannot.
    """
    if not _PATH.fullmatch(name):
        raise TaskError(f"expected an import path such as my_package.scoring:score, found {name!r}")


@contextmanager
def trusting_code(trusts: bool = True) -> Iterator[None]:
    """Let task files name code that is run, for as long as the context lasts."""
    before = os.environ.get(TRUST_VARIABLE)
    if trusts:
        os.environ[TRUST_VARIABLE] = "1"
    try:
        yield
    finally:
        if trusts and before is None:
            os.environ.pop(TRUST_VARIABLE, None)
        elif trusts and before is not None:
            os.environ[TRUST_VARIABLE] = before


def custom_metric(name: str, folder: str | Path | None = None) -> Metric:
    """Return the metric that the import path `name` is, imported from `folder` or the installed packages.

    The function takes a prediction and the references of its row, at least one, and returns a finite number
    from 0 to its attribute `maximum`, by default 1. Its attribute `higher_is_better` is by default True.

    Raises:
        TaskError: Nobody has said to trust the code, it cannot be imported, or it is no such function.
    """
    check_import_path(name)
    where = None if folder is None else Path(folder).absolute()
    if not is_trusted():
        found = "the installed packages" if where is None else f"{where} or the installed packages"
        raise TaskError(
            f"metric {name}: would import and run {name.partition(':')[0]} from {found}; if you trust that "
            f"code, pass --trust-code or set {TRUST_VARIABLE}=1"
        )
    return _imported(name, where)


@cache
def _imported(name: str, folder: Path | None) -> Metric:
    module_name, _, attribute = name.partition(":")
    try:
        with _searching(folder, module_name.partition(".")[0]):
            module = importlib.import_module(module_name)
    except Exception as error:
        raise TaskError(f"metric {name}: {module_name} cannot be imported: {_in_short(error)}") from error
    function = _function(name, module, attribute)
    higher_is_better = getattr(function, "higher_is_better", True)
    if not isinstance(higher_is_better, bool):
        raise TaskError(f"metric {name}: higher_is_better must be True or False, found {higher_is_better!r}")
    maximum = getattr(function, "maximum", 1.0)
    if not _is_number(maximum) or not 0 < maximum < math.inf:
        raise TaskError(f"metric {name}: maximum must be a positive number, found {maximum!r}")
    return Metric(
        name,
        _checked(name, function, float(maximum)),
        higher_is_better=higher_is_better,
        maximum=float(maximum),
        digits=3 if maximum <= 10 else 1,
    )


def _function(name: str, module: ModuleType, attribute: str) -> Callable[..., Any]:
    function = getattr(module, attribute, None)
    if not callable(function):
        known = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        where = module.__file__ or module.__name__
        raise TaskError(
            f"metric {name}: no function {attribute!r} in {where}: {did_you_mean(attribute, known)}"
        )
    try:
        inspect.signature(function).bind("prediction", ["reference"])
    except TypeError as error:
        raise TaskError(
            f"metric {name}: must take (prediction, references), found {inspect.signature(function)}"
        ) from error
    except ValueError:
        pass  # A function of C does not always tell its signature.
    return function  # type: ignore[no-any-return]


def _checked(name: str, function: Callable[..., Any], maximum: float) -> Score:
    """Return `function` with its errors named and its numbers checked."""

    def score(prediction: str, references: Sequence[str]) -> float:
        try:
            found = function(prediction, list(references))
        except Exception as error:
            raise TaskError(
                f"metric {name}: {_in_short(error)}, at prediction {prediction!r:.{_SHOWN}}"
            ) from error
        if not _is_number(found) or not 0 <= found <= maximum:
            raise TaskError(
                f"metric {name}: expected a number from 0 to {maximum:g}, found {found!r:.{_SHOWN}} at "
                f"prediction {prediction!r:.{_SHOWN}}"
            )
        return float(found)

    return score


def _is_number(value: object) -> bool:
    # `float` of a NumPy number is a Real too; nan fails every comparison that follows.
    return isinstance(value, Real)


@contextmanager
def _searching(folder: Path | None, package: str) -> Iterator[None]:
    """Search `folder` first, and leave no trace of it: two folders may call different modules the same."""
    if folder is None or PathFinder.find_spec(package, [str(folder)]) is None:
        yield
        return
    path, before = list(sys.path), dict(sys.modules)
    importlib.invalidate_caches()
    tops = {name.partition(".")[0] for name in before} - sys.stdlib_module_names
    shadowed = {top for top in tops if _is_module_of(folder, top)} | {package}
    hidden = {name: module for name, module in before.items() if name.partition(".")[0] in shadowed}
    for name in hidden:
        del sys.modules[name]
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path[:] = path
        for name, module in list(sys.modules.items()):
            if name not in before and _lies_in(module, folder):
                del sys.modules[name]
        sys.modules.update(hidden)


def _is_module_of(folder: Path, name: str) -> bool:
    return (folder / f"{name}.py").is_file() or (folder / name / "__init__.py").is_file()


def _lies_in(module: ModuleType, folder: Path) -> bool:
    places = [getattr(module, "__file__", None), *getattr(module, "__path__", ())]
    return any(place is not None and Path(place).is_relative_to(folder) for place in places)


def _in_short(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
