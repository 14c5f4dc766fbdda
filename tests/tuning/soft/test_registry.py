import re
from pathlib import Path

import pytest

from tuningfork.errors import PromptError
from tuningfork.tuning.soft.method import SoftMethod
from tuningfork.tuning.soft.registry import SOFT_METHODS, get_soft_method

METHODS_PAGE = Path(__file__).parents[3] / "docs" / "methods.md"


@pytest.mark.parametrize("name", SOFT_METHODS)
def test_a_method_is_found_by_its_own_name(name: str) -> None:
    assert get_soft_method(name) is SOFT_METHODS[name]
    assert get_soft_method(name).name == name


@pytest.mark.parametrize("method", SOFT_METHODS.values(), ids=list(SOFT_METHODS))
def test_each_method_names_a_format_in_peft_that_holds_its_kind(method: SoftMethod) -> None:
    peft = pytest.importorskip("peft")
    if method.kind not in ("input", "key-value"):
        assert method.peft_type is None
        return
    assert method.peft_type in peft.PeftType.__members__
    holds_keys = method.peft_type in ("PREFIX_TUNING", "CARTRIDGE")
    assert holds_keys == (method.kind == "key-value")


def test_a_slip_of_the_pen_is_answered_with_the_nearest_name() -> None:
    with pytest.raises(PromptError, match=r"unknown soft-prompt method 'prompt-tunning': did you mean "):
        get_soft_method("prompt-tunning")


def test_an_unknown_name_is_answered_with_all_there_are() -> None:
    everything = ", ".join(SOFT_METHODS)
    with pytest.raises(PromptError, match=rf"unknown soft-prompt method 'xyz': expected one of {everything}"):
        get_soft_method("xyz")


def test_the_page_of_methods_lists_each_with_its_format_and_its_start() -> None:
    rows = re.findall(
        r"^\| `(\w+)` \|.*\| ([^|]+) \| (\w+) \|$", METHODS_PAGE.read_text("utf-8"), re.MULTILINE
    )
    assert {name for name, _, _ in rows} == set(SOFT_METHODS)
    for name, start, peft_type in rows:
        method = SOFT_METHODS[name]
        assert peft_type == (method.peft_type or "none")
        assert (start in ("yes", "text and examples")) == method.equals_text_at_start
