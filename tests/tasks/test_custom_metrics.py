import math
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from tuningfork.errors import TaskError
from tuningfork.tasks.custom_metrics import (
    check_import_path,
    custom_metric,
    is_custom,
    trusting_code,
)
from tuningfork.tasks.metrics import get_metric
from tuningfork.tasks.trusted_code import TRUST_VARIABLE

SCORING = """\
from part import share

def score(prediction, references):
    return share * (prediction in references)

def distance(prediction, references):
    return abs(len(prediction) - len(references[0]))

distance.higher_is_better = False
distance.maximum = 100

def fails(prediction, references):
    raise KeyError("queue")

def returns(prediction, references):
    return {"nan": float("nan"), "large": 1.01, "small": -0.5, "text": "0.5", "none": None}[prediction]

def counts(prediction, references):
    import numpy
    return numpy.float32(0.5) if prediction else True

def narrow(prediction):
    return 1.0

def wide(prediction, references):
    return 1.0

wide.maximum = 0
value = 3
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "scoring.py").write_text(SCORING)
    (tmp_path / "part.py").write_text("share = 0.5\n")
    return tmp_path


def test_nothing_is_run_before_it_is_trusted(tmp_path: Path) -> None:
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    message = f"metric evil:score: would import and run evil from {tmp_path} or the installed packages; .*"
    with pytest.raises(TaskError, match=f"{message}pass --trust-code or set {TRUST_VARIABLE}=1$"):
        custom_metric("evil:score", tmp_path)
    assert "evil" not in sys.modules
    assert not (tmp_path / "ran").exists()


def test_trust_ends_with_its_context(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with trusting_code():
        assert custom_metric("scoring:score", folder).score("a", ["a"]) == 0.5
    with trusting_code(False), pytest.raises(TaskError, match="would import and run"):
        custom_metric("scoring:score", folder)
    assert TRUST_VARIABLE not in os.environ
    monkeypatch.setenv(TRUST_VARIABLE, "1")
    with trusting_code():
        pass
    assert get_metric("scoring:score", folder).score("b", ["a"]) == 0.0
    monkeypatch.setenv(TRUST_VARIABLE, "0")
    with pytest.raises(TaskError, match="would import and run"):
        custom_metric("scoring:score", folder)


def test_importing_leaves_no_trace(folder: Path) -> None:
    path, modules = list(sys.path), set(sys.modules)
    with trusting_code():
        custom_metric("scoring:score", folder)
    assert sys.path == path
    assert {"scoring", "part"} & (set(sys.modules) - modules) == set()


def test_modules_of_one_name_in_two_folders_are_two(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "scoring.py").write_text("from part import share\nscore = lambda said, right: share\n")
    (other / "part.py").write_text("share = 0.25\n")
    with trusting_code():
        assert custom_metric("scoring:score", folder).score("a", ["a"]) == 0.5
        assert custom_metric("scoring:score", other).score("a", ["a"]) == 0.25
        assert custom_metric("scoring:score", folder).score("a", ["a"]) == 0.5


def test_packages_and_installed_modules_are_found(tmp_path: Path) -> None:
    (tmp_path / "house" / "rules").mkdir(parents=True)
    (tmp_path / "house" / "__init__.py").write_text("")
    (tmp_path / "house" / "rules" / "__init__.py").write_text("from ..base import half as score\n")
    (tmp_path / "house" / "base.py").write_text("def half(prediction, references): return 0.5\n")
    with trusting_code():
        assert custom_metric("house.rules:score", tmp_path).score("a", ["b"]) == 0.5
        assert custom_metric("tuningfork.tasks.metrics:token_f1", tmp_path).score("a b", ["b"]) == 1.0
        assert custom_metric("tuningfork.tasks.metrics:token_f1").score("c b", ["b"]) == pytest.approx(2 / 3)


def test_attributes_say_range_and_direction(folder: Path) -> None:
    with trusting_code():
        score, distance = (custom_metric(f"scoring:{name}", folder) for name in ("score", "distance"))
    assert (score.name, score.higher_is_better, score.maximum) == ("scoring:score", True, 1.0)
    assert (distance.higher_is_better, distance.maximum) == (False, 100.0)
    assert distance.score("abc", ["a"]) == 2.0


def test_numbers_of_all_kinds_count(folder: Path) -> None:
    with trusting_code():
        counts = custom_metric("scoring:counts", folder)
    assert (counts.score("", ["a"]), counts.score("a", ["a"])) == (1.0, 0.5)
    assert not isinstance(counts.score("a", ["a"]), np.floating)


@pytest.mark.parametrize(
    ("name", "prediction", "message"),
    [
        ("fails", "hello", r"metric scoring:fails: KeyError: 'queue', at prediction 'hello'$"),
        ("returns", "nan", r"expected a number from 0 to 1, found nan at prediction 'nan'$"),
        ("returns", "large", r"expected a number from 0 to 1, found 1.01 at prediction 'large'$"),
        ("returns", "small", r"found -0.5 at"),
        ("returns", "text", r"found '0.5' at"),
        ("returns", "none", r"found None at"),
    ],
)
def test_what_goes_wrong_inside_is_named(folder: Path, name: str, prediction: str, message: str) -> None:
    with trusting_code():
        metric = custom_metric(f"scoring:{name}", folder)
    with pytest.raises(TaskError, match=message):
        metric.score(prediction, ["a"])
    assert math.isfinite(metric.maximum)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("scoring:scor", r"no function 'scor' in .*scoring.py: did you mean 'score'\?"),
        ("scoring:value", r"no function 'value' in .*scoring.py"),
        ("scoring:narrow", r"must take \(prediction, references\), found \(prediction\)"),
        ("scoring:wide", r"maximum must be a positive number, found 0"),
        ("nowhere:score", r"nowhere cannot be imported: ModuleNotFoundError: No module named 'nowhere'"),
        ("broken:score", r"broken cannot be imported: SyntaxError"),
    ],
)
def test_what_cannot_be_a_metric_is_one_line(folder: Path, name: str, message: str) -> None:
    (folder / "broken.py").write_text("def score(:\n")
    with trusting_code(), pytest.raises(TaskError, match=f"^metric {name}: {message}") as caught:
        custom_metric(name, folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["a:b", "a.b_c.d:score", "größe:maß"])
def test_import_paths(name: str) -> None:
    check_import_path(name)
    assert is_custom(name)


@pytest.mark.parametrize("name", ["a:", ":b", "a/b.py:score", "a..b:c", ".a:b", "a:b.c", "a:b()", "1a:b"])
def test_what_is_no_import_path(name: str) -> None:
    with pytest.raises(TaskError, match=r"expected an import path such as my_package\.scoring:score"):
        check_import_path(name)
