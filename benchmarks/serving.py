"""Many soft prompts on one frozen model: PEFT beside the engine that batches rows of different prompts.

    python benchmarks/serving.py [--quick] [--dtype bfloat16] [--prompts 16] [--requests 64] [--clients 16]

Every way answers the same requests in this process, on the very same weights, greedily and with as many
tokens. Prints a table, then one line of JSON. Exits with 1 if a request fails, if an answer in float32 is not
PEFT's, or if logits of rows that share a batch are not those of each row alone.
"""

import argparse
import asyncio
import json
import statistics
import sys
import time
import warnings
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch
from peft import PeftModel, PromptTuningConfig, TaskType, get_peft_model
from torch import Tensor
from transformers import LlamaForCausalLM

if not __package__:
    # Run as a file, Python looks for modules beside it instead of above it.
    sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.step import build_network, build_tokenizer
from tuningfork.models.artefacts import InputPrompt
from tuningfork.models.frozen import FrozenModel
from tuningfork.models.machine import MachineReport, describe_machine
from tuningfork.serving.engine import ServingEngine
from tuningfork.serving.requests import GenerationRequest, LoadedPrompt, SamplingSettings
from tuningfork.serving.scheduler import EngineLimits

LARGEST_LOGIT_DIFFERENCE = 1e-4
"""In float32, between a row among others and the same row alone."""
WAYS = {
    "ours": "Tuning Fork, rows of all prompts in one batch",
    "peft_switching": "PEFT, set_adapter, one request at a time",
    "peft_batched": "PEFT, set_adapter, the requests of a prompt together",
}


@dataclass(frozen=True, slots=True)
class Load:
    """What is asked: rows of `num_tokens` behind `num_prompts` prompts of `num_virtual_tokens`."""

    num_prompts: int = 16
    num_requests: int = 64
    num_clients: int = 16
    num_virtual_tokens: int = 100
    num_tokens: int = 32
    num_answered: int = 64
    num_timed_firsts: int = 15
    """How often the time to the first token is measured, behind a prompt and behind none."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One request: which prompt, or none, its row, and how many tokens to answer."""

    prompt: int | None
    ids: tuple[int, ...]
    num_answered: int


@dataclass(frozen=True, slots=True)
class Answered:
    """The tokens of one answer, and the seconds to the first of them; none if it failed."""

    tokens: tuple[int, ...] = ()
    first_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one way answered to every request, in their order, and how long all took."""

    answers: list[tuple[int, ...]]
    seconds: float

    @property
    def tokens_per_second(self) -> float:
        """Answered tokens."""
        return sum(map(len, self.answers)) / self.seconds


Ask = Callable[[Asked], Awaitable[Answered]]
"""Asks a server for one answer."""


def requests_of(load: Load, vocabulary_size: int) -> list[Asked]:
    """Random rows; the requests for a prompt come one after the other in rounds over all prompts."""
    generator = torch.Generator().manual_seed(1)
    rows = torch.randint(vocabulary_size, (load.num_requests, load.num_tokens), generator=generator)
    return [
        Asked(index % load.num_prompts, tuple(row), load.num_answered)
        for index, row in enumerate(rows.tolist())
    ]


def prompts_of(load: Load, model: FrozenModel) -> list[Tensor]:
    """Virtual tokens (P, H) in float32: the embeddings of random words."""
    generator = torch.Generator().manual_seed(2)
    shape = (load.num_prompts, load.num_virtual_tokens)
    words = torch.randint(model.vocabulary_size, shape, generator=generator)
    with torch.no_grad():
        return [model.embed(row).float().clone() for row in words.tolist()]


def engine_asks(engine: ServingEngine, prompts: Sequence[Tensor]) -> Ask:
    """Asks the engine in this process."""
    loaded = [LoadedPrompt(index, str(index), InputPrompt(one)) for index, one in enumerate(prompts)]
    base = LoadedPrompt("base", "base")

    async def ask(asked: Asked) -> Answered:
        sampling = SamplingSettings(asked.num_answered, temperature=0, ignores_end=True)
        prompt = base if asked.prompt is None else loaded[asked.prompt]
        began, first, tokens = time.perf_counter(), 0.0, list[int]()
        async for piece in engine.submit(GenerationRequest("asked", prompt, asked.ids, sampling)):
            first = first or time.perf_counter() - began
            tokens += piece.tokens
        return Answered(tuple(tokens), first)

    return ask


async def answer_concurrently(ask: Ask, requests: Sequence[Asked], num_clients: int) -> Outcome:
    """What `num_clients` get who each ask one request after the other."""
    answers: list[tuple[int, ...]] = [()] * len(requests)

    async def client(first: int) -> None:
        for index in range(first, len(requests), num_clients):
            # Whatever goes wrong with a request is counted as one that failed.
            try:
                answers[index] = (await ask(requests[index])).tokens
            except Exception as error:
                print(f"request {index} failed: {error}", file=sys.stderr)

    began = time.perf_counter()
    await asyncio.gather(*map(client, range(num_clients)))
    return Outcome(answers, time.perf_counter() - began)


async def first_token_overhead(ask: Ask, load: Load, requests: Sequence[Asked]) -> float:
    """By how much longer the first token takes behind a prompt than behind none; 0.1 is 10 %."""
    seconds: dict[bool, list[float]] = {True: [], False: []}
    for turn in range(load.num_timed_firsts + 1):
        row = requests[turn % len(requests)]
        for has_prompt in (turn % 2 == 0, turn % 2 == 1):
            answered = await ask(Asked(row.prompt if has_prompt else None, row.ids, 1))
            # The first of each kind warms up.
            if turn:
                seconds[has_prompt].append(answered.first_seconds)
    return statistics.median(seconds[True]) / statistics.median(seconds[False]) - 1


def peft_model_of(network: LlamaForCausalLM, prompts: Sequence[Tensor]) -> PeftModel:
    """PEFT's model around `network` itself, one adapter for each of `prompts` (P, H)."""
    with warnings.catch_warnings():
        # PEFT 0.21 reads an attribute that transformers renamed.
        warnings.filterwarnings("ignore", message="`is_gradient_checkpointing`", category=FutureWarning)
        peft_model: Any = None
        for index, virtual in enumerate(prompts):
            config = PromptTuningConfig(task_type=TaskType.CAUSAL_LM, num_virtual_tokens=len(virtual))
            if peft_model is None:
                peft_model = get_peft_model(network, config, adapter_name=str(index))
            else:
                peft_model.add_adapter(str(index), config)
            with torch.no_grad():
                peft_model.get_parameter(f"prompt_encoder.{index}.embedding.weight").copy_(virtual)
    peft_model.eval()
    assert isinstance(peft_model, PeftModel)
    return peft_model


@torch.no_grad()
def peft_answers(peft_model: Any, requests: Sequence[Asked], *, together: bool) -> Outcome:
    """What PEFT answers, one request after the other or those of a prompt `together`."""
    groups: list[list[int]] = [[index] for index in range(len(requests))]
    if together:
        prompts = dict.fromkeys(asked.prompt for asked in requests)
        groups = [[i for i, asked in enumerate(requests) if asked.prompt == prompt] for prompt in prompts]
    answers: list[tuple[int, ...]] = [()] * len(requests)
    began = time.perf_counter()
    for group in groups:
        some = [requests[index] for index in group]
        peft_model.set_adapter(str(some[0].prompt))
        ids, count = torch.tensor([asked.ids for asked in some]), some[0].num_answered
        made = peft_model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            max_new_tokens=count,
            min_new_tokens=count,
            pad_token_id=0,
        )
        for index, row in zip(group, made[:, -count:].tolist(), strict=True):
            answers[index] = tuple(row)
    return Outcome(answers, time.perf_counter() - began)


@torch.no_grad()
def logit_difference(model: FrozenModel, prompts: Sequence[Tensor], requests: Sequence[Asked]) -> float:
    """Largest difference of logits between rows that come and go in one batch and each row alone."""
    rows, running, largest = model.running_rows(), list[tuple[Tensor, list[int]]](), 0.0

    def compare(virtual: Tensor, ids: Sequence[int], logits: Tensor) -> None:
        nonlocal largest
        embeddings = torch.cat([virtual, model.embed(ids)])[None]
        alone = model.network(inputs_embeds=embeddings, use_cache=False).logits[0, -1]
        largest = max(largest, float((logits - alone).abs().max()))

    for index, asked in enumerate(requests[:6]):
        # Prompts of any length or none, and rows of any length, a long one in pieces.
        virtual = prompts[index % len(prompts)][: 37 * (index % 4)]
        ids = list((asked.ids * (index % 3 + 1))[: 5 + 11 * index])
        reading = rows.begin(model.prefix([InputPrompt(virtual)] if len(virtual) else []), ids)
        while not reading.is_read:
            logits = rows.read(reading, 24)
        compare(virtual, ids, logits[-1])
        rows.join(reading)
        running.append((virtual, ids))
        if index == 3:
            rows.leave([1])
            del running[1]
        for _, written in running:
            written.append((7 * len(written) + 13 * index) % model.vocabulary_size)
        for (front, written), logits in zip(
            running, rows.step([written[-1] for _, written in running]), strict=True
        ):
            compare(front, written, logits)
    return largest


async def measure_ours(
    model: FrozenModel, prompts: Sequence[Tensor], requests: Sequence[Asked], load: Load
) -> tuple[Outcome, float]:
    """Our answers, and the overhead of a prompt until the first token."""
    async with ServingEngine(model, limits=EngineLimits(max_rows=load.num_clients)) as engine:
        # Another prompt than those that are measured, so that each of these is read within the time.
        spare = engine_asks(engine, [*[prompts[0]] * len(prompts), prompts[0].flip(0)])
        await spare(Asked(len(prompts), requests[0].ids, 4))
        ask = engine_asks(engine, prompts)
        outcome = await answer_concurrently(ask, requests, load.num_clients)
        return outcome, await first_token_overhead(ask, load, requests)


def compare(
    network: LlamaForCausalLM, load: Load, dtype: torch.dtype
) -> tuple[dict[str, Outcome], dict[str, float]]:
    """What each way did, and the figures that are no ratios of their times."""
    network.to(dtype).float()  # type: ignore[arg-type]
    model = FrozenModel(network, build_tokenizer(), name="benchmark")
    prompts = prompts_of(load, model)
    requests = requests_of(load, model.vocabulary_size)
    difference = logit_difference(model, prompts, requests)
    network.to(dtype)  # type: ignore[arg-type]
    model = FrozenModel(network, build_tokenizer(), name="benchmark")
    ours, overhead = asyncio.run(measure_ours(model, prompts, requests, load))
    peft_model = peft_model_of(network, prompts)
    peft_answers(peft_model, [Asked(0, requests[0].ids, 4)], together=False)
    outcomes = {
        "ours": ours,
        "peft_switching": peft_answers(peft_model, requests, together=False),
        "peft_batched": peft_answers(peft_model, requests, together=True),
    }
    wanted = [asked.num_answered for asked in requests]
    lengths = [len(answer) for answer in ours.answers]
    return outcomes, {
        "ttft_overhead": overhead,
        "max_logit_difference": difference,
        "failed_requests": sum(one != other for one, other in zip(lengths, wanted, strict=True)),
        "answers_unlike_peft": unlike(ours, outcomes["peft_switching"]),
    }


def unlike(one: Outcome, other: Outcome) -> int:
    """How many answers of two ways differ."""
    return sum(mine != theirs for mine, theirs in zip(one.answers, other.answers, strict=True))


def figures(outcomes: Mapping[str, Outcome], measured: Mapping[str, float]) -> dict[str, float]:
    """The results by name; ratios are our tokens per second over PEFT's."""
    ours = outcomes["ours"].tokens_per_second
    found = {
        "ratio_peft_switching": ours / outcomes["peft_switching"].tokens_per_second,
        "ratio_peft_batched": ours / outcomes["peft_batched"].tokens_per_second,
        **measured,
    }
    found |= {f"tokens_per_second_{name}": one.tokens_per_second for name, one in outcomes.items()}
    return {name: float(f"{value:.4g}") for name, value in found.items()}


def heading(network: LlamaForCausalLM, load: Load, machine: MachineReport, dtype: str) -> str:
    """What is measured, and on what."""
    config = network.config
    names = ("torch", "transformers", "peft")
    versions = "  ".join(f"{name} {machine.package_versions[name]}" for name in names)
    return "\n".join(
        [
            f"{load.num_requests} requests from {load.num_clients} clients for {load.num_prompts} soft "
            f"prompts of {load.num_virtual_tokens} tokens, {load.num_tokens} tokens in, "
            f"{load.num_answered} out, {dtype}",
            f"Llama of {config.num_hidden_layers} layers, {config.hidden_size} wide, vocabulary "
            f"{config.vocab_size:,}, {network.num_parameters() / 1e6:.0f} M parameters",
            f"{versions}  {machine.torch_threads} threads",
            f"{machine.cpu_name} [{' '.join(machine.cpu_features)}]  load {psutil.getloadavg()[0]:.1f}",
        ]
    )


def table(outcomes: Mapping[str, Outcome]) -> str:
    """One line for each way."""
    lines = [f"{'way':<54}{'seconds':>9}{'tokens/s':>10}{'ours x':>8}"]
    ours = outcomes["ours"].tokens_per_second
    for name, outcome in outcomes.items():
        speed = outcome.tokens_per_second
        lines.append(f"{WAYS[name]:<54}{outcome.seconds:>9.1f}{speed:>10.1f}{ours / speed:>8.2f}")
    return "\n".join(lines)


def parse_arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line; `--quick` makes the load small."""
    parser = argparse.ArgumentParser(description="Many soft prompts on one model: PEFT beside the engine.")
    parser.add_argument("--quick", action="store_true", help="2 prompts, 8 requests, 16 tokens each")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    small, full = Load(2, 8, 8, num_answered=16, num_timed_firsts=7), Load()
    for name in ("prompts", "requests", "clients", "answered"):
        default = getattr(full, f"num_{name}")
        parser.add_argument(f"--{name}", type=int, help=f"how many (default {default})")
    arguments = parser.parse_args(words)
    load = small if arguments.quick else full
    sizes = {
        f"num_{name}": value
        for name in ("prompts", "requests", "clients", "answered")
        if (value := getattr(arguments, name)) is not None
    }
    if any(value < 1 for value in sizes.values()):
        parser.error("all numbers must be at least 1")
    arguments.load = Load(**{**{name: getattr(load, name) for name in Load.__slots__}, **sizes})
    return arguments


def main() -> int:
    """Measure and print; 1 if something is wrong with an answer, else 0."""
    arguments = parse_arguments()
    network = build_network()
    print(heading(network, arguments.load, describe_machine(), arguments.dtype), flush=True)
    outcomes, measured = compare(network, arguments.load, getattr(torch, arguments.dtype))
    print(f"\n{table(outcomes)}\n")
    found = figures(outcomes, measured)
    # In bfloat16, rounding that differs from batch to batch decides between words that are as likely.
    differs = arguments.dtype == "float32" and measured["answers_unlike_peft"] > 0
    is_right = measured["max_logit_difference"] <= LARGEST_LOGIT_DIFFERENCE and not differs
    conditions = {"dtype": arguments.dtype, "threads": torch.get_num_threads(), **_sizes(arguments.load)}
    print(json.dumps({**conditions, "load": round(psutil.getloadavg()[0], 1), **found}))
    return 0 if is_right and not measured["failed_requests"] else 1


def _sizes(load: Load) -> dict[str, int]:
    return {"prompts": load.num_prompts, "requests": load.num_requests, "clients": load.num_clients}


if __name__ == "__main__":
    sys.exit(main())
