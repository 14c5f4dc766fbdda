"""One prompt-tuning step, forward and backward: PEFT beside the shared prefix.

    python benchmarks/step.py [--quick] [--dtype bfloat16] [--repeats 7] [--batch 8]

Every way runs in this process on the very same weights, with the same rows, loss, allocator, number format
and threads. Prints a table, then one line of JSON. Exits with 1 if the gradients differ by more than 1e-5 in
float32.
"""

import argparse
import ctypes
import gc
import json
import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import psutil
import torch
from peft import PromptTuningConfig, TaskType, get_peft_model
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from tuningfork.models.frozen import FrozenModel
from tuningfork.models.machine import MachineReport, describe_machine, peak_memory_bytes
from tuningfork.training.step import accumulate_gradients
from tuningfork.tuning.soft.method import begin
from tuningfork.tuning.soft.prompt_tuning import PromptTuning
from tuningfork.types import TrainingRow

LARGEST_GRADIENT_DIFFERENCE = 1e-5
"""In float32, relative to the norm of PEFT's gradient."""
NUM_LABELS = 4
"""Label tokens at the end of each row; the rest is context."""
WAYS = {
    "peft": "PEFT",
    "label_only": "PEFT, label logits only",
    "ours": "Tuning Fork, shared prefix",
}


@dataclass(frozen=True, slots=True)
class Case:
    """A size of prompt and row."""

    num_virtual_tokens: int
    num_tokens: int

    @property
    def key(self) -> str:
        """How the case is named in the figures."""
        return f"p{self.num_virtual_tokens}" + (f"_t{self.num_tokens}" if self.num_tokens != 32 else "")


QUICK_CASES = (Case(20, 32), Case(100, 32))
ALL_CASES = (*QUICK_CASES, Case(20, 256), Case(100, 256))


@dataclass(frozen=True, slots=True)
class Way:
    """One way of taking the step."""

    backward: Callable[[], float]
    """Adds the gradient to `embeddings` and returns the loss."""
    embeddings: nn.Parameter
    """The virtual tokens (P, H), float32."""

    def step(self) -> float:
        """The loss of one step; its gradient stays in `embeddings` until the next."""
        self.embeddings.grad = None
        return self.backward()

    @property
    def gradient(self) -> Tensor:
        """The gradient (P, H) that the last step left."""
        return cast(Tensor, self.embeddings.grad)


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one way took in one case."""

    loss: float
    gradient_difference: float
    """Norm of the difference from PEFT's float32 gradient, relative to the norm of that."""
    milliseconds: float
    """Median over the repeats."""
    peak_bytes: int | None
    """Most memory in use during a step above that in use before; None where it cannot be measured."""


Measurements = Mapping[str, Measurement]


def build_network(**overrides: Any) -> LlamaForCausalLM:
    """A seeded Llama of 12 layers and 71 million parameters, float32."""
    sizes = {
        "vocab_size": 49152,
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_hidden_layers": 12,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "tie_word_embeddings": True,
    }
    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(**{**sizes, **overrides}))


def build_tokenizer() -> PreTrainedTokenizerFast:
    """The smallest tokenizer there is; the rows are token ids already."""
    backend = Tokenizer(WordLevel({"<unk>": 0}, unk_token="<unk>"))
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>")  # type: ignore[no-untyped-call]


def build_ways(model: FrozenModel, case: Case, batch: int) -> dict[str, Way]:
    """The ways of `WAYS`, all on the network of `model`, with the same rows and the same virtual tokens."""
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(model.vocabulary_size, (batch, case.num_tokens), generator=generator)
    drawn = torch.randint(model.vocabulary_size, (case.num_virtual_tokens,), generator=generator)
    start = model.embed(drawn.tolist())
    return {
        "peft": peft_way(model.network, start, ids),
        "label_only": label_only_way(model.network, start, ids),
        "ours": shared_prefix_way(model, start, ids),
    }


def peft_way(network: nn.Module, start: Tensor, ids: Tensor) -> Way:
    """PEFT as the Trainer calls it: labels go in, the loss comes out."""
    peft_model, embeddings = _peft_model(network, start)
    labels = ids.clone()
    labels[:, :-NUM_LABELS] = -100
    mask = torch.ones_like(ids)

    def backward() -> float:
        loss = peft_model(input_ids=ids, attention_mask=mask, labels=labels, use_cache=False).loss
        loss.backward()
        return float(loss.item())

    return Way(backward, embeddings)


def label_only_way(network: nn.Module, start: Tensor, ids: Tensor) -> Way:
    """PEFT at its strongest: logits only where a label is predicted, no mask, no last token.

    `logits_to_keep` reaches the network through PEFT, so this is PEFT's own path without a patch; it needs
    labels at the same places in every row, and a loss written by the caller.
    """
    peft_model, embeddings = _peft_model(network, start)
    inputs, labels = ids[:, :-1], ids[:, -NUM_LABELS:].flatten()

    def backward() -> float:
        logits = peft_model(input_ids=inputs, logits_to_keep=NUM_LABELS, use_cache=False).logits
        loss = cross_entropy(logits.flatten(0, 1).float(), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        return float(loss.item())

    return Way(backward, embeddings)


def shared_prefix_way(model: FrozenModel, start: Tensor, ids: Tensor) -> Way:
    """The step of `tuningfork tune`, with the whole batch in one forward."""
    method = PromptTuning()
    module = begin(method, model, start)
    length = ids.shape[1]
    rows = [TrainingRow(tuple(row), tuple(range(length - NUM_LABELS, length))) for row in ids.tolist()]

    def backward() -> float:
        return accumulate_gradients(model, method.materialize(module), rows, micro_batch_size=len(rows))

    return Way(backward, cast(nn.Parameter, module.embeddings))


def _peft_model(network: nn.Module, start: Tensor) -> tuple[nn.Module, nn.Parameter]:
    """PEFT's model around `network` itself, and its virtual tokens, which start from `start` (P, H)."""
    config = PromptTuningConfig(task_type=TaskType.CAUSAL_LM, num_virtual_tokens=len(start))
    with warnings.catch_warnings():
        # PEFT 0.21 reads an attribute that transformers renamed.
        warnings.filterwarnings("ignore", message="`is_gradient_checkpointing`", category=FutureWarning)
        peft_model = get_peft_model(network, config).eval()
    embeddings = peft_model.get_parameter("prompt_encoder.default.embedding.weight")
    with torch.no_grad():
        embeddings.copy_(start)
    return peft_model, embeddings


def relative_difference(found: Tensor, expected: Tensor) -> float:
    """Norm of the difference relative to the norm of `expected`."""
    return float((found - expected).norm() / expected.norm())


def median_milliseconds(ways: Mapping[str, Way], repeats: int) -> dict[str, float]:
    """Median time of a step of each way, in turns, so that all meet the same moods of the machine."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            start = time.perf_counter()
            way.step()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(seconds) * 1e3 for name, seconds in times.items()}


def peak_step_bytes(way: Way) -> int | None:
    """Most resident memory during a step above that before it; None except with Linux and glibc.

    torch counts nothing on a CPU, so the kernel is asked. What earlier steps freed is first given back to it
    and its high-water mark is set to the memory in use now; the step then has to fault in all that it needs,
    scratch space and fragmentation included.
    """
    if sys.platform != "linux" or not describe_machine().uses_glibc or "LD_PRELOAD" in os.environ:
        return None
    ctypes.CDLL(None).malloc_trim(0)
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return None
    before = peak_memory_bytes()
    way.step()
    return peak_memory_bytes() - before


def measure(ways: Mapping[str, Way], reference: Tensor, repeats: int) -> dict[str, Measurement]:
    """Losses, gradients, times and memory of `ways`; `reference` (P, H) is PEFT's float32 gradient."""
    # The steps that give losses and gradients warm the machine up for those that are timed.
    losses = {name: way.step() for name, way in ways.items()}
    differences = {name: relative_difference(way.gradient, reference) for name, way in ways.items()}
    milliseconds = median_milliseconds(ways, repeats)
    gc.collect()
    return {
        name: Measurement(losses[name], differences[name], milliseconds[name], peak_step_bytes(way))
        for name, way in ways.items()
    }


def check_gradients(ways: Mapping[str, Way]) -> tuple[Tensor, float]:
    """PEFT's gradient (P, H), and how far ours is from it."""
    ways["peft"].step()
    ways["ours"].step()
    reference = ways["peft"].gradient.clone()
    return reference, relative_difference(ways["ours"].gradient, reference)


def compare(
    network: LlamaForCausalLM,
    cases: Sequence[Case],
    *,
    dtype: torch.dtype,
    repeats: int,
    batch: int,
    show: Callable[[Case, Measurements], None],
) -> tuple[float, dict[Case, Measurements]]:
    """The largest gradient difference of `cases` in float32, and what each of them took in `dtype`.

    Both use the same numbers: the weights are rounded to `dtype` before the float32 gradients are taken.
    `show` is called after each case.
    """
    network.to(dtype).float()  # type: ignore[arg-type]
    model = FrozenModel(network, build_tokenizer(), name="benchmark")
    ways = {case: build_ways(model, case, batch) for case in cases}
    checks = {case: check_gradients(ways[case]) for case in cases}
    network.to(dtype)  # type: ignore[arg-type]
    results: dict[Case, Measurements] = {}
    for case in cases:
        results[case] = measure(ways[case], checks[case][0], repeats)
        show(case, results[case])
    return max(difference for _, difference in checks.values()), results


def figures(difference: float, results: Mapping[Case, Measurements]) -> dict[str, float | None]:
    """The results by name: ratios are PEFT's time over ours, memory is ours over PEFT's."""
    found: dict[str, float | None] = {"gradient_difference": difference}
    for case, ways in results.items():
        ours = ways["ours"]
        found[f"ratio_{case.key}"] = ways["peft"].milliseconds / ours.milliseconds
        found[f"ratio_label_only_{case.key}"] = ways["label_only"].milliseconds / ours.milliseconds
        found[f"memory_ours_over_peft_{case.key}"] = memory_share(ours, ways["peft"])
        found[f"memory_ours_over_label_only_{case.key}"] = memory_share(ours, ways["label_only"])
        for name, way in ways.items():
            found[f"ms_{name}_{case.key}"] = way.milliseconds
            found[f"peak_bytes_{name}_{case.key}"] = way.peak_bytes
    shares = [share for ways in results.values() if (share := memory_share(ways["ours"], ways["peft"]))]
    # Of all cases, the one least favourable to us.
    found["memory_ours_over_peft"] = max(shares, default=None)
    return {name: None if value is None else float(f"{value:.4g}") for name, value in found.items()}


def memory_share(ours: Measurement, theirs: Measurement) -> float | None:
    """Our peak over theirs; None where it cannot be measured."""
    if ours.peak_bytes is None or not theirs.peak_bytes:
        return None
    return ours.peak_bytes / theirs.peak_bytes


def heading(network: LlamaForCausalLM, machine: MachineReport, arguments: argparse.Namespace) -> str:
    """What was measured, and on what."""
    config = network.config
    names = ("torch", "transformers", "peft")
    versions = "  ".join(f"{name} {machine.package_versions[name]}" for name in names)
    allocator = "  ".join(f"{name}={value}" for name, value in machine.allocator_settings.items())
    return "\n".join(
        [
            f"One prompt-tuning step, forward and backward, in {arguments.dtype}",
            f"Llama of {config.num_hidden_layers} layers, {config.hidden_size} wide, vocabulary "
            f"{config.vocab_size:,}, {network.num_parameters() / 1e6:.0f} M parameters",
            f"{arguments.batch} rows of T tokens, the last {NUM_LABELS} are labels, after P virtual tokens",
            f"Median of {arguments.repeats} steps of each way, in turns, after a warm-up",
            "",
            f"{versions}  {machine.torch_threads} threads",
            f"{machine.cpu_name} [{' '.join(machine.cpu_features)}]  load {psutil.getloadavg()[0]:.1f}",
            f"allocator: {allocator or 'default settings (MALLOC_* unset)'}",
        ]
    )


def table_heading() -> str:
    """The names of the columns of `table_rows`."""
    columns = f"{'loss':>10}{'gradient':>10}{'ms/step':>9}{'x ours':>8}{'MB':>7}"
    return f"{'P':>4} {'T':>4}  {'way':<27}{columns}"


def table_rows(case: Case, ways: Measurements) -> str:
    """The results of a case, one line for each way."""
    lines = []
    label = f"{case.num_virtual_tokens:>4} {case.num_tokens:>4}"
    for name, way in ways.items():
        times_ours = way.milliseconds / ways["ours"].milliseconds
        memory = "-" if way.peak_bytes is None else f"{way.peak_bytes / 1e6:.0f}"
        lines.append(
            f"{label}  {WAYS[name]:<27}{way.loss:>10.5f}{way.gradient_difference:>10.1e}"
            f"{way.milliseconds:>9.0f}{times_ours:>8.2f}{memory:>7}"
        )
        label = " " * len(label)
    return "\n".join(lines)


def parse_arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line; `--quick` sets the repeats unless they are given."""
    parser = argparse.ArgumentParser(description="PEFT's prompt-tuning step beside the shared prefix.")
    parser.add_argument("--quick", action="store_true", help="only rows of 32 tokens, 3 repeats")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--repeats", type=int, help="timed steps of each way (default 7)")
    parser.add_argument("--batch", type=int, default=8, help="rows in a step (default 8)")
    arguments = parser.parse_args(words)
    if arguments.repeats is None:
        arguments.repeats = 3 if arguments.quick else 7
    if min(arguments.repeats, arguments.batch) < 1:
        parser.error("--repeats and --batch must be at least 1")
    return arguments


def main() -> int:
    """Measure and print; 1 if the gradients differ, else 0."""
    arguments = parse_arguments()
    network = build_network()
    print(f"{heading(network, describe_machine(), arguments)}\n\n{table_heading()}", flush=True)
    difference, results = compare(
        network,
        QUICK_CASES if arguments.quick else ALL_CASES,
        dtype=getattr(torch, arguments.dtype),
        repeats=arguments.repeats,
        batch=arguments.batch,
        show=lambda case, ways: print(table_rows(case, ways), flush=True),
    )
    is_exact = difference <= LARGEST_GRADIENT_DIFFERENCE
    print("gradient: relative difference from PEFT's in float32.  MB: peak of a step above what was in use.")
    print(
        f"Same gradient in float32: {'yes' if is_exact else 'NO'}, largest relative difference "
        f"{difference:.1e} (limit {LARGEST_GRADIENT_DIFFERENCE:.0e})\n"
    )
    conditions = {
        "dtype": arguments.dtype,
        "batch": arguments.batch,
        "threads": torch.get_num_threads(),
        "load": round(psutil.getloadavg()[0], 1),
    }
    print(json.dumps({**conditions, **figures(difference, results)}))
    return 0 if is_exact else 1


if __name__ == "__main__":
    sys.exit(main())
