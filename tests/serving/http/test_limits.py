from dataclasses import fields

from tuningfork.serving.http.limits import Limits


def test_everything_is_bounded() -> None:
    assert all(0 < getattr(Limits(), field.name) < 2**31 for field in fields(Limits))
    assert Limits().answers >= Limits().prompts
