"""Many requests of all kinds at once: no answer is lost, mixed up or cut."""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import replace

from tests.peft_reference import random_update
from tests.serving.test_engine import (
    NO_PROMPT,
    answer_all,
    expected_tokens,
    pieces,
    request,
    soft_prompt,
    tokens_of,
)
from tests.tiny_models import build_model, random_ids
from tuningfork.models.artefacts import AdaptedPrompt, InputPrompt
from tuningfork.models.frozen import FrozenModel
from tuningfork.serving.engine import ServingEngine
from tuningfork.serving.requests import Delta, Engine, GenerationRequest, LoadedPrompt, SamplingSettings
from tuningfork.serving.scheduler import EngineLimits

LIMITS = EngineLimits(max_rows=5, tokens_read_per_step=9, prefix_bytes=2000, cache_bytes=80_000)
"""So little that prompts are read again, rows wait for others, and long ones come in pieces."""


def traffic(model: FrozenModel, count: int) -> list[GenerationRequest]:
    """Requests that ask for one answer in any company: greedy ones, and those with a seed."""
    drawn = random.Random(3)
    soft = [soft_prompt(model, length) for length in (2, 5, 9)]
    assert isinstance(soft[0].soft, InputPrompt)
    update = random_update(model.network, 2, seed=1)
    prompts = [
        NO_PROMPT,
        *soft,
        soft_prompt(model, 3, text=(7, 8)),
        LoadedPrompt("adapted", "adapted", AdaptedPrompt(soft[0].soft, update)),
    ]
    return [
        replace(
            request(random_ids(drawn.randint(1, 30), seed=index), drawn.choice(prompts)),
            id=str(index),
            sampling=SamplingSettings(
                drawn.randint(1, 12),
                temperature=drawn.choice([0.0, 0.0, 1.2]),
                seed=index,
                min_tokens=drawn.choice([0, 0, 1]),
            ),
        )
        for index in range(count)
    ]


async def ask_and_leave(engine: Engine, asked: Sequence[GenerationRequest]) -> dict[str, list[Delta]]:
    """Each answer, or as much of it as was read before its reader went."""
    drawn, read = random.Random(4), dict[str, list[Delta]]()

    async def reader(one: GenerationRequest) -> None:
        await asyncio.sleep(drawn.random() / 20)
        stream, patience = engine.submit(one), drawn.choice([1, 3, 1000, 1000])
        read[one.id] = []
        async for piece in stream:
            read[one.id].append(piece)
            if len(read[one.id]) >= patience:
                break

    await asyncio.gather(*map(reader, asked))
    return read


def test_everybody_gets_their_own_answer() -> None:
    model = build_model("mistral")
    asked = traffic(model, 60)

    async def run() -> dict[str, list[Delta]]:
        async with ServingEngine(model, limits=LIMITS) as engine:
            read = await ask_and_leave(engine, asked)
            # Who has left is noticed at the next step.
            await asyncio.wait_for(pieces(engine.submit(request([5]))), timeout=60)
            while engine.status.num_present:
                await asyncio.sleep(0.01)
            assert engine.status.prefix_bytes <= LIMITS.prefix_bytes
            return read

    read = asyncio.run(run())
    assert len(read) == len(asked)
    num_whole = 0
    for one in asked:
        if one.sampling.temperature == 0 and not one.sampling.min_tokens:
            expected = expected_tokens(model, one)
        else:
            (alone,) = answer_all(model, [one])
            expected = tokens_of(alone)
        made, is_whole = tokens_of(read[one.id]), read[one.id][-1].finish_reason is not None
        assert made == expected[: len(made)]
        assert not is_whole or made == expected
        num_whole += is_whole
    assert 30 < num_whole < 60
