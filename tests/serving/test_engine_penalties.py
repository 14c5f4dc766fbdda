"""Penalties of rows that run side by side, against one row at a time in plain loops."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.serving.test_engine import NO_PROMPT, answer_all, request, soft_prompt, tokens_of
from tests.tiny_models import EOS, random_ids, tiny_model
from tuningfork.models.frozen import FrozenModel
from tuningfork.serving import engine as engine_module
from tuningfork.serving.requests import GenerationRequest, SamplingSettings
from tuningfork.serving.sampling import RowSampler, choose
from tuningfork.serving.scheduler import EngineLimits


def plain_answer(model: FrozenModel, one: GenerationRequest) -> list[int]:
    """Greedy tokens, one row at a time, penalties and biases in a loop."""
    front = [] if one.prompt.soft is None else [one.prompt.soft]
    state, made, settings = model.prefix(front), list[int](), one.sampling
    while len(made) < settings.max_tokens:
        row = [*one.ids, *made]
        with torch.no_grad():
            logits = model.logits([row], state, [[len(row) - 1]])[0].tolist()
        for token, value in enumerate(logits):
            if token in row:
                value *= settings.repetition_penalty ** (-1 if value > 0 else 1)
            value -= settings.frequency_penalty * made.count(token)
            value -= settings.presence_penalty * (token in made)
            logits[token] = value + settings.logit_bias.get(token, 0.0)
        if len(made) < settings.min_tokens:
            logits[EOS] = -1e9
        token = max(range(len(logits)), key=logits.__getitem__)
        if token == EOS:
            break
        made.append(token)
    return made


PENALISED = [
    SamplingSettings(9, temperature=0, repetition_penalty=1.8),
    SamplingSettings(12, temperature=0, frequency_penalty=1.5, presence_penalty=-0.5),
    SamplingSettings(7, temperature=0),
    SamplingSettings(10, temperature=0, presence_penalty=2.0, min_tokens=10, logit_bias={EOS: 4.0}),
]


def penalised_requests(model: FrozenModel) -> list[GenerationRequest]:
    prompts = (NO_PROMPT, soft_prompt(model, 3))
    return [
        request(random_ids(4 + index, seed=index), prompts[index % 2], settings)
        for index, settings in enumerate([*PENALISED, *PENALISED])
    ]


def test_penalties_are_those_of_each_row() -> None:
    model = tiny_model("llama")
    requests = penalised_requests(model)
    found = answer_all(model, requests, limits=EngineLimits(max_rows=3))
    assert [tokens_of(answer) for answer in found] == [plain_answer(model, one) for one in requests]
    # Each setting shows, or nothing was compared.
    neutral = SamplingSettings(12, temperature=0)
    plain = [plain_answer(model, request(one.ids, one.prompt, neutral)) for one in requests]
    changed = [tokens_of(a) != b[: len(tokens_of(a))] for a, b in zip(found, plain, strict=True)]
    assert [one or other for one, other in zip(changed[:4], changed[4:], strict=True)] == [
        True,
        True,
        False,
        True,
    ]


def test_a_penalty_over_another_row_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model("llama")
    requests = penalised_requests(model)
    right = choose

    def crossed(samplers: Sequence[RowSampler], logits: Tensor) -> Any:
        return right(samplers, logits) if len(samplers) == 1 else right(samplers[::-1], logits)

    monkeypatch.setattr(engine_module, "choose", crossed)
    found = answer_all(model, requests, limits=EngineLimits(max_rows=3))
    assert [tokens_of(answer) for answer in found] != [plain_answer(model, one) for one in requests]
