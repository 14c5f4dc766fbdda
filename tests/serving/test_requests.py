import pytest

from tuningfork.serving.requests import LoadedPrompt, SamplingSettings


def test_a_prompt_is_kept_by_its_key() -> None:
    first, same = LoadedPrompt(("a", 1), "a"), LoadedPrompt(("a", 1), "a")
    assert first == same
    assert first != LoadedPrompt(("a", 2), "a")


def test_settings_cannot_be_changed_by_one_request_for_another() -> None:
    settings = SamplingSettings(max_tokens=3)
    with pytest.raises(AttributeError):
        settings.max_tokens = 4  # type: ignore[misc]
    assert SamplingSettings(max_tokens=3).logit_bias is not settings.logit_bias
