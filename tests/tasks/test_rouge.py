import sys

import pytest

from tuningfork.errors import MissingDependencyError
from tuningfork.tasks import rouge
from tuningfork.tasks.rouge import check_rouge, has_rouge, rouge1, rouge2, rouge_l


def test_rouge_by_hand() -> None:
    said, right = "the cat sat on mats", ["the cat lay on the mat"]
    # 3 of 5 words said and of 6 that are right are shared: the, cat, on; of the pairs only "the cat".
    assert rouge1(said, right) == pytest.approx(2 * 3 / (5 + 6))
    assert rouge2(said, right) == pytest.approx(2 * 1 / (4 + 5))
    assert rouge_l("on the cat", right) == pytest.approx(2 * 2 / (3 + 6))


def test_the_best_reference_counts() -> None:
    assert rouge1("tea", ["milk", "tea"]) == 1.0
    assert rouge_l("", ["tea"]) == 0.0


def test_without_the_package_one_line_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    rouge._scorer.cache_clear()
    monkeypatch.setitem(sys.modules, "rouge_score", None)
    monkeypatch.setitem(sys.modules, "rouge_score.rouge_scorer", None)
    with pytest.raises(MissingDependencyError, match=r"rouge1 needs .*pip install 'tuningfork\[rouge\]'$"):
        rouge1("a", ["a"])
    assert not has_rouge()
    with pytest.raises(MissingDependencyError, match="the metric rougeL needs the package 'rouge-score'"):
        check_rouge("rougeL")
    check_rouge("chrf")
    monkeypatch.undo()
    check_rouge("rougeL")
    assert has_rouge()
