"""Truth for LoRA: PEFT's own layers in a copy of the network."""

import copy
from collections.abc import Mapping
from typing import cast

import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn
from transformers import PreTrainedModel

from tuningfork.models.low_rank import LowRankUpdate
from tuningfork.tuning.weights.linear_layers import linear_layers


def with_peft_layers(network: PreTrainedModel, update: LowRankUpdate) -> PreTrainedModel:
    """A copy of `network` in which PEFT's layers hold the numbers of `update`."""
    settings = LoraConfig(
        r=update.rank,
        lora_alpha=round(update.scale * update.rank),
        target_modules=list(update.pairs),
        fan_in_fan_out=network.config.model_type == "gpt2",
        task_type="CAUSAL_LM",
    )
    adapted = inject_adapter_in_model(settings, copy.deepcopy(network))
    with torch.no_grad():
        for name, (down, up) in lora_weights(adapted).items():
            down.copy_(update.pairs[name][0])
            up.copy_(update.pairs[name][1])
    return cast(PreTrainedModel, adapted.eval())


def lora_weights(adapted: nn.Module) -> Mapping[str, tuple[Tensor, Tensor]]:
    """PEFT's parameters by the name of the layer, in its order."""
    return {
        name: (
            layer.lora_A["default"].get_parameter("weight"),
            layer.lora_B["default"].get_parameter("weight"),
        )
        for name, layer in adapted.named_modules()
        if isinstance(layer, LoraLayer)
    }


def random_update(network: PreTrainedModel, rank: int, *, seed: int = 0, size: float = 0.2) -> LowRankUpdate:
    """A change of every linear layer but the head that is large enough to be seen."""
    generator = torch.Generator().manual_seed(seed)
    pairs = {
        name: (
            torch.randn(rank, read, generator=generator) * size,
            torch.randn(width, rank, generator=generator) * size,
        )
        for name, (width, read) in linear_layers(network, ()).items()
    }
    return LowRankUpdate(pairs, 2.0)
