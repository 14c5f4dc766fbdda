"""From a checkpoint to a folder that transformers loads, verified by loading it."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from tools.pretrain import checkpoint as checkpoints
from tools.pretrain.checkpoint import Checkpoint
from tools.pretrain.config import Config
from tools.pretrain.rendering import Renderer
from tools.pretrain.training import DECAYED, STABLE, build_model
from tuningfork.errors import FormatError, RunError

_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written."""

    folder: Path
    num_parameters: int
    num_bytes: int
    """Of the weight files."""
    checkpoint: Checkpoint
    """Without its tensors."""
    phase: str


def newest(config: Config) -> tuple[str, Checkpoint]:
    """Return the decayed checkpoint, or else the stable one.

    Raises:
        RunError: Nothing has been trained.
    """
    for phase in (DECAYED, STABLE):
        found = checkpoints.latest(config.work / "checkpoints" / phase)
        if found is not None:
            return phase, found
    raise RunError(f"{config.work / 'checkpoints'}: there is nothing to export; train first")


def export(
    config: Config, folder: Path, max_shard_size: str | None = None, *, start_share: float = 0.0
) -> Exported:
    """Write bfloat16 weights, config, tokenizer, chat template and generation config to a new folder.

    `start_share`, in [0, 1), is how much of the model that training continued from is mixed back into the
    weights (Wortsman et al. 2022, "Robust fine-tuning of zero-shot models", arXiv 2109.01903): what a short
    training at a high rate unlearns comes back, and little of what it taught is lost.

    Raises:
        RunError: Nothing has been trained, the folder holds something, or there is no start to mix with.
        FormatError: What was written does not load as it was.
    """
    if folder.exists() and any(folder.iterdir()):
        raise RunError(f"{folder}: is not empty; name a new folder")
    phase, found = newest(config)
    if start_share and config.start is None:
        raise RunError("there is no start to mix with: this training began from scratch")
    model = build_model(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            mixed = torch.lerp(found.tensors[f"model.{name}"].to(parameter), parameter, start_share)
            # Rounded before the comparison, in float32: `to` would round the rotary frequencies too.
            parameter.copy_(mixed.to(torch.bfloat16))
    wanted = _probe(model, config.tokenizer_folder)
    model.to(torch.bfloat16)  # type: ignore[arg-type]  # transformers' wrapper hides the signature
    renderer = Renderer(config.tokenizer_folder)
    end = renderer.end_of_text
    model.generation_config = GenerationConfig(  # type: ignore[no-untyped-call]
        bos_token_id=end, eos_token_id=end, pad_token_id=renderer.padding
    )
    model.save_pretrained(folder, max_shard_size=max_shard_size or "10GB")
    for path in folder.glob("*.safetensors"):
        path.chmod(0o644)  # safetensors writes for the owner alone
    for name in _TOKENIZER_FILES:
        shutil.copyfile(config.tokenizer_folder / name, folder / name)
    again = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    if not torch.equal(_probe(again, folder), wanted):
        raise FormatError(f"{folder}: the weights do not give the same logits when loaded again")
    return Exported(
        folder=folder,
        num_parameters=model.num_parameters(),
        num_bytes=sum(path.stat().st_size for path in folder.glob("*.safetensors")),
        checkpoint=Checkpoint(found.step, found.tokens, found.seconds, found.decay, {}),
        phase=phase,
    )


@torch.no_grad()
def _probe(model: nn.Module, tokenizer_folder: Path) -> Tensor:
    """Return the logits (1, T, V) of a short chat."""
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Hello?"}], tokenize=False, add_generation_prompt=True
    )
    ids = torch.tensor([tokenizer(text, add_special_tokens=False)["input_ids"]])
    logits: Tensor = model(input_ids=ids).logits
    return logits
