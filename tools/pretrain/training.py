"""The loop: from packed sequences to weights, over as many sessions as it takes."""

import json
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from tools.pretrain import checkpoint as checkpoints
from tools.pretrain.checkpoint import Checkpoint
from tools.pretrain.config import Config, TrainConfig
from tools.pretrain.muon import Muon
from tools.pretrain.packing import open_shard
from tools.pretrain.rendering import Renderer
from tools.pretrain.sampler import Batch, Sampler, to_batch
from tools.pretrain.schedule import Decay, learning_rate_factor
from tuningfork.errors import ModelError, RunError

STABLE, DECAYED = "stable", "decayed"
_SECONDS_A_MINUTE = 60.0
_LOG_EVERY = 10


@dataclass(frozen=True, slots=True)
class Limits:
    """When to stop before the end; a signal sets `stop_requested`."""

    max_minutes: float | None = None
    max_steps: int | None = None
    """Steps done over all sessions."""
    stop_requested: Callable[[], bool] = field(default=lambda: False)

    def reached(self, step: int, started: float) -> bool:
        """Return whether the loop should save and leave."""
        if self.max_steps is not None and step >= self.max_steps:
            return True
        if self.max_minutes is not None and time.monotonic() - started > self.max_minutes * _SECONDS_A_MINUTE:
            return True
        return self.stop_requested()


def build_model(config: Config) -> LlamaForCausalLM:
    """Return the model to continue from, or a new one, in float32."""
    if config.start is not None:
        try:
            model = AutoModelForCausalLM.from_pretrained(config.start, dtype=torch.float32)
        except (OSError, ValueError) as error:
            raise ModelError(
                f"{config.start}: cannot be loaded as a causal language model ({error})"
            ) from None
        if not isinstance(model, LlamaForCausalLM):
            raise ModelError(f"{config.start}: expected a Llama, found {type(model).__name__}")
        return model
    torch.manual_seed(config.train.seed)
    renderer = Renderer(config.tokenizer_folder)
    shape = LlamaConfig(
        vocab_size=renderer.vocab_size,
        tie_word_embeddings=True,
        num_key_value_heads=config.model.num_attention_heads,
        bos_token_id=renderer.end_of_text,
        eos_token_id=renderer.end_of_text,
        pad_token_id=renderer.padding,
        **config.model.model_dump(),
    )
    return LlamaForCausalLM(shape)


def build_optimizers(model: nn.Module, settings: TrainConfig) -> dict[str, torch.optim.Optimizer]:
    """Return Muon for the matrices inside the layers and AdamW for embeddings and norms."""
    matrices: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        (matrices if parameter.ndim == 2 and "layers." in name else others).append(parameter)
    return {
        "matrices": Muon(
            matrices,
            lr=settings.matrix_learning_rate,
            momentum=settings.momentum,
            weight_decay=settings.weight_decay,
            newton_schulz_steps=settings.newton_schulz_steps,
        ),
        "others": torch.optim.AdamW(
            others, lr=settings.other_learning_rate, betas=(0.9, 0.95), weight_decay=0.0
        ),
    }


def weighted_loss(model: nn.Module, batch: Batch, total_weight: Tensor) -> Tensor:
    """Return the sum of weighted token losses of (B, T) sequences, divided by `total_weight`; nats."""
    logits = model(input_ids=batch.ids, use_cache=False).logits.float()
    # The labels move, not the logits: those would be copied, and they are the largest tensor by far.
    labels, weights = batch.ids.roll(-1, dims=1), batch.weights.roll(-1, dims=1)
    weights[:, -1] = 0
    losses = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none")
    return (losses * weights.flatten()).sum() / total_weight


class Training:
    """One training between its first step and wherever it is stopped."""

    def __init__(
        self, config: Config, names: list[str], validation: list[str], report: Callable[[str], None]
    ) -> None:
        self._config, self._settings, self._report = config, config.train, report
        self._device = torch.device(self._settings.device)
        self._model = build_model(config)
        self._model.to(self._device)  # type: ignore[arg-type]  # transformers' wrapper hides the signature
        self._optimizers = build_optimizers(self._model, self._settings)
        self._names: dict[Tensor, str] = {
            parameter: name for name, parameter in self._model.named_parameters()
        }
        packed = config.work / "packed"
        self._sampler = Sampler(packed, names, self._settings.tokens_per_step, self._settings.seed)
        self._validation = {name.split("-", 2)[2]: _whole_shard(packed, name) for name in validation}
        self._forward: nn.Module = (
            torch.compile(self._model) if self._settings.compile else self._model  # type: ignore[assignment]
        )
        self._state = Checkpoint(0, 0, 0.0, None, {})
        self._phase = STABLE

    def train(self, limits: Limits, decay_steps: int | None = None) -> Checkpoint:
        """Go on from the last checkpoint until a limit is reached or the decay ends."""
        self._resume(decay_steps)
        started = saved = time.monotonic()
        decay = self._state.decay
        while not (decay and self._state.step >= decay.end) and not limits.reached(self._state.step, started):
            self._step()
            if self._state.step % self._settings.validate_every == 0:
                self._validate()
            if time.monotonic() - saved > self._settings.checkpoint_minutes * _SECONDS_A_MINUTE:
                self._save()
                saved = time.monotonic()
        self._validate()
        self._save()
        return self._state

    def _step(self) -> None:
        began = time.monotonic()
        step, settings = self._state.step, self._settings
        factor = learning_rate_factor(step, settings.warmup_steps, self._state.decay)
        peaks = {"matrices": settings.matrix_learning_rate, "others": settings.other_learning_rate}
        for name, optimizer in self._optimizers.items():
            optimizer.zero_grad(set_to_none=True)
            for group in optimizer.param_groups:
                group["lr"] = peaks[name] * factor
        batch = self._sampler.batch(step)
        loss = self._accumulate(batch)
        norm = float(nn.utils.clip_grad_norm_(self._model.parameters(), settings.clip_norm))
        for optimizer in self._optimizers.values():
            optimizer.step()
        seconds = time.monotonic() - began
        tokens = batch.ids.numel()
        self._state = replace(
            self._state,
            step=step + 1,
            tokens=self._state.tokens + tokens,
            seconds=self._state.seconds + seconds,
        )
        self._log(
            {"loss": loss, "gradient_norm": norm, "factor": factor, "tokens_per_second": tokens / seconds}
        )
        if self._state.step % _LOG_EVERY == 0:
            self._report(
                f"step {self._state.step}  loss {loss:.3f}  norm {norm:.2f}  "
                f"{tokens / seconds:,.0f} tokens/s  {self._state.tokens / 1e6:.1f} M tokens"
            )

    def _accumulate(self, batch: Batch) -> float:
        total_weight = batch.weights[:, 1:].sum().clamp(min=1e-6).to(self._device)
        rows = max(1, self._settings.micro_batch_tokens // batch.ids.shape[1])
        loss = torch.zeros((), device=self._device)
        for start in range(0, batch.ids.shape[0], rows):
            part = self._moved(Batch(batch.ids[start : start + rows], batch.weights[start : start + rows]))
            with self._autocast():
                share = weighted_loss(self._forward, part, total_weight)
            share.backward()  # type: ignore[no-untyped-call]
            loss += share.detach()
        return float(loss)

    @torch.no_grad()
    def _validate(self) -> None:
        losses: dict[str, float] = {}
        for family, batch in self._validation.items():
            total = batch.weights[:, 1:].sum().clamp(min=1e-6).to(self._device)
            with self._autocast():
                parts = [
                    float(weighted_loss(self._model, self._moved(Batch(ids[None], weights[None])), total))
                    for ids, weights in zip(batch.ids, batch.weights, strict=True)
                ]
            losses[family] = sum(parts)
        self._log({"validation": losses})
        self._report("validation  " + "  ".join(f"{family} {loss:.3f}" for family, loss in losses.items()))

    def _moved(self, batch: Batch) -> Batch:
        return Batch(batch.ids.to(self._device), batch.weights.to(self._device))

    def _autocast(self) -> AbstractContextManager[Any]:
        if self._device.type == "cuda":
            return torch.autocast("cuda", dtype=torch.bfloat16)
        return nullcontext()

    def _folder(self, phase: str) -> Path:
        return self._config.work / "checkpoints" / phase

    def _resume(self, decay_steps: int | None) -> None:
        self._phase = STABLE if decay_steps is None else DECAYED
        found = checkpoints.latest(self._folder(self._phase))
        if found is None and decay_steps is not None:
            stable = checkpoints.latest(self._folder(STABLE))
            if stable is None:
                raise RunError(
                    f"{self._folder(STABLE)}: there is nothing to decay from; train without --decay-steps"
                )
            found = replace(stable, decay=Decay(stable.step, decay_steps))
        if found is not None:
            self._restore(found)
            self._report(f"going on at step {found.step} ({self._phase})")
        self._trim_metrics()

    def _restore(self, found: Checkpoint) -> None:
        parameters = {name: parameter for parameter, name in self._names.items()}
        with torch.no_grad():
            for name, parameter in parameters.items():
                parameter.copy_(found.tensors[f"model.{name}"])
        for label, optimizer in self._optimizers.items():
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    prefix = f"optimizer.{label}.{self._names[parameter]}."
                    optimizer.state[parameter] = {
                        key.removeprefix(prefix): tensor.clone().to(self._device if tensor.ndim else "cpu")
                        for key, tensor in found.tensors.items()
                        if key.startswith(prefix)
                    }
        self._state = replace(found, tensors={})

    def _save(self) -> None:
        tensors = {f"model.{name}": parameter for parameter, name in self._names.items()}
        for label, optimizer in self._optimizers.items():
            for parameter, state in optimizer.state.items():
                tensors |= {
                    f"optimizer.{label}.{self._names[parameter]}.{key}": value for key, value in state.items()
                }
        path = checkpoints.save(replace(self._state, tensors=tensors), self._folder(self._phase))
        self._report(f"saved {path}")

    @property
    def _metrics_path(self) -> Path:
        return self._config.work / f"metrics-{self._phase}.jsonl"

    def _log(self, values: Mapping[str, Any]) -> None:
        line = {"step": self._state.step, "tokens": self._state.tokens, **values}
        with self._metrics_path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def _trim_metrics(self) -> None:
        """Drop what was logged behind the checkpoint by a session that was killed."""
        self._metrics_path.parent.mkdir(parents=True, exist_ok=True)
        if not self._metrics_path.is_file():
            return
        lines = self._metrics_path.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [
            line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= self._state.step
        ]
        self._metrics_path.write_text("".join(kept), encoding="utf-8")


def _whole_shard(folder: Path, name: str) -> Batch:
    packed = open_shard(folder, name)
    return to_batch(packed.tokens[:], packed.weights[:])
