import pytest

from tuningfork.errors import PromptError
from tuningfork.tuning.soft.method import SoftMethod
from tuningfork.tuning.soft.registry import SOFT_METHODS, get_soft_method


@pytest.mark.parametrize("name", SOFT_METHODS)
def test_a_method_is_found_by_its_own_name(name: str) -> None:
    assert get_soft_method(name) is SOFT_METHODS[name]
    assert get_soft_method(name).name == name


@pytest.mark.parametrize("method", SOFT_METHODS.values(), ids=list(SOFT_METHODS))
def test_each_method_names_a_format_in_peft_that_holds_its_kind(method: SoftMethod) -> None:
    peft = pytest.importorskip("peft")
    if method.kind in ("instance", "headed"):
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
