"""Python of the user's own, named as `module:function` in a file, and run only where it is trusted."""

import hashlib
import importlib
import importlib.util
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from tuningfork.errors import TaskError

TRUST_VARIABLE = "TUNINGFORK_TRUST_CODE"

_PATH = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*:[^\W\d]\w*")


def is_trusted() -> bool:
    """Whether the environment says that code named in files may run: TUNINGFORK_TRUST_CODE=1."""
    return os.environ.get(TRUST_VARIABLE) == "1"


def check_callable_path(path: str) -> None:
    """Check that `path` has the form `module:function`; nothing is looked up.

    Raises:
        TaskError: It has not.
    """
    if not _PATH.fullmatch(path):
        raise TaskError(f"expected module:function, as in checks:is_polite, found {path!r:.80}")


def load_callable(path: str, folder: Path, *, trusted: bool) -> Callable[..., Any]:
    """Return the function that `path`, a `module:function`, names.

    `checks:is_polite` is `is_polite` in `checks.py` in `folder` and, where there is no such file, in the
    installed module `checks`. Loading a module runs it.

    Raises:
        TaskError: The code is not trusted, the path has another form or leads out of `folder`, or there is no
            such module or function.
    """
    check_callable_path(path)
    if not (trusted or is_trusted()):
        raise TaskError(
            f"{path} is Python code that would run with your rights, so it only runs where you trust it: "
            f"read it, then pass --trust-code or set {TRUST_VARIABLE}=1"
        )
    name, _, function = path.partition(":")
    module = _load_module(name, folder, path)
    found = getattr(module, function, None)
    if found is None:
        raise TaskError(f"{path}: {name} has no function {function!r}")
    if not callable(found):
        raise TaskError(f"{path}: expected a function, found {type(found).__name__}")
    return found  # type: ignore[no-any-return]


def _load_module(name: str, folder: Path, path: str) -> ModuleType:
    file = folder.joinpath(*name.split(".")).with_suffix(".py")
    try:
        if file.is_file():
            if not file.resolve().is_relative_to(folder.resolve()):
                raise TaskError(f"{path}: {file} leads out of {folder}, where code of this file must lie")
            return _load_file(file.resolve())
        return importlib.import_module(name)
    except TaskError:
        raise
    except ModuleNotFoundError as error:
        if error.name in (name, name.partition(".")[0]):
            raise TaskError(f"{path}: there is no {file}, and no installed module {name!r}") from None
        raise TaskError(f"{path}: {name} needs the module {error.name!r}, which is not installed") from error
    except Exception as error:
        # Whatever the code of a user raises while it loads is told in one line.
        raise TaskError(f"{path}: cannot be loaded: {type(error).__name__}: {error}") from error


def _load_file(file: Path) -> ModuleType:
    # Two folders may each have a module of the same name.
    unique = f"_tuningfork_{file.stem}_{hashlib.sha256(str(file).encode()).hexdigest()[:16]}"
    if unique in sys.modules:
        return sys.modules[unique]
    spec = importlib.util.spec_from_file_location(unique, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[unique] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[unique]
        raise
    return module
