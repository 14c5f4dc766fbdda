import pytest

from tuningfork.errors import MissingDependencyError, PromptError
from tuningfork.tuning.text.registry import DEFAULT_STRATEGIES, TEXT_STRATEGIES, get_text_strategy


def test_every_strategy_is_found_by_its_name() -> None:
    assert {name: strategy.name for name, strategy in TEXT_STRATEGIES.items()} == {
        name: name for name in TEXT_STRATEGIES
    }
    assert all(get_text_strategy(name) is TEXT_STRATEGIES[name] for name in TEXT_STRATEGIES)
    assert set(DEFAULT_STRATEGIES) <= set(TEXT_STRATEGIES)


def test_every_strategy_cites_its_source_and_says_how_it_differs() -> None:
    for strategy in TEXT_STRATEGIES.values():
        text = " ".join((type(strategy).__doc__ or "").split())
        assert "https://arxiv.org/abs/" in text
        assert "Ours" in text or "ours" in text


def test_a_missing_package_is_told_before_anything_is_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tuningfork.tuning.text.registry.find_spec", lambda name: None)
    assert get_text_strategy("edits").name == "edits"
    for name, package in (("reflection", "gepa"), ("bayesian_instructions", "optuna")):
        with pytest.raises(MissingDependencyError, match=rf"{package}.*pip install 'tuningfork\[search\]'"):
            get_text_strategy(name)


def test_an_unknown_name_is_told_with_the_closest_one() -> None:
    with pytest.raises(PromptError, match="unknown strategy 'edit': did you mean 'edits'"):
        get_text_strategy("edit")
