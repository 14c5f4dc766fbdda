import asyncio
from typing import Any

import pytest
import torch

from tests.tiny_folder import build_byte_tokenizer
from tuningfork.errors import ContextLengthError, ServingError
from tuningfork.models.artefacts import (
    AdaptedPrompt,
    EncoderDecoderPrompt,
    HeadedPrompt,
    InputPrompt,
    PlacedPrompt,
    SoftPrompt,
)
from tuningfork.models.classification_head import ClassificationHead
from tuningfork.models.low_rank import LowRankUpdate
from tuningfork.serving.job import Job, check_request, num_front_tokens
from tuningfork.serving.requests import GenerationRequest, LoadedPrompt, SamplingSettings
from tuningfork.serving.text_stream import Detokenizer

VIRTUAL = InputPrompt(torch.zeros(3, 4))
UPDATE = LowRankUpdate({"layer": (torch.zeros(1, 4), torch.zeros(4, 1))}, 1.0)
HEADED = HeadedPrompt(VIRTUAL, ClassificationHead(torch.zeros(2, 4), torch.zeros(2)))


def request(
    soft: SoftPrompt | None = None, ids: tuple[int, ...] = (5, 6), *, max_tokens: int = 4, **more: Any
) -> GenerationRequest:
    prompt = LoadedPrompt("key", "greeter", soft, (7, 8))
    return GenerationRequest(
        "r", prompt, ids, SamplingSettings(max_tokens, **more.pop("settings", {})), **more
    )


def check(one: GenerationRequest, *, maximum_length: int | None = 20, scores_rows: bool = True) -> None:
    check_request(one, vocabulary_size=10, maximum_length=maximum_length, scores_rows=scores_rows)


@pytest.mark.parametrize(
    ("soft", "count"),
    [
        (None, 2),
        (VIRTUAL, 5),
        (AdaptedPrompt(VIRTUAL, UPDATE), 5),
        (PlacedPrompt(torch.zeros(3, 4), (7, -1, 8, -2)), 6),
        (EncoderDecoderPrompt((1, 2, 3, 4), VIRTUAL), 6),
        (EncoderDecoderPrompt(PlacedPrompt(torch.zeros(3, 4), (-1,)), VIRTUAL), 3),
    ],
)
def test_what_stands_in_front_is_counted(soft: SoftPrompt | None, count: int) -> None:
    assert num_front_tokens(request(soft).prompt) == count


def test_prompt_row_and_answer_must_fit() -> None:
    # 5 in front, 2 of the row, and the last of 14 answered tokens is not read again.
    check(request(VIRTUAL, max_tokens=14))
    check(request(VIRTUAL, max_tokens=1000), maximum_length=None)
    with pytest.raises(ContextLengthError, match=r"= 21 tokens; the model's maximum is 20"):
        check(request(VIRTUAL, max_tokens=15))


@pytest.mark.parametrize("soft", [HEADED, AdaptedPrompt(HEADED, UPDATE)])
def test_a_prompt_with_a_head_says_no_words(soft: SoftPrompt) -> None:
    with pytest.raises(ServingError, match="prompt greeter tells labels apart by a head and says no words"):
        check(request(soft))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"ids": (5, 10)}, "token 10 is not in the model's vocabulary of 10"),
        ({"deadline_seconds": 0.0}, "deadline_seconds must be above 0, found 0"),
        ({"settings": {"top_p": 2.0}}, "top_p must be above 0 and at most 1, found 2"),
    ],
)
def test_what_cannot_be_is_named(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ServingError, match=message):
        check(request(**wrong))


def test_a_model_that_says_nothing_of_its_input_does_not_score_it() -> None:
    one = request(settings={"wants_prompt_log_probabilities": True})
    check(one)
    with pytest.raises(ServingError, match="no prompt log-probabilities"):
        check(one, scores_rows=False)


def test_a_job_knows_how_long_it_can_become_and_when_it_is_late() -> None:
    async def begin(**more: Any) -> Job:
        return Job(request(VIRTUAL, max_tokens=9, **more), Detokenizer(build_byte_tokenizer()), frozenset())

    job = asyncio.run(begin())
    assert (job.num_prompt_tokens, job.most_tokens, job.is_late) == (7, 16, False)
    assert asyncio.run(begin(deadline_seconds=1e-9)).is_late
    assert not asyncio.run(begin(deadline_seconds=1000.0)).is_late
