"""Which layers of a network LoRA changes: what PEFT itself would choose."""

import warnings
from collections.abc import Sequence
from typing import cast

import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import Linear
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn
from transformers import PreTrainedModel

from tuningfork.errors import PromptError
from tuningfork.models.low_rank import linear_shape


def linear_layers(network: PreTrainedModel, targets: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Size (O, I) of the linear layers that `targets` name, by their names in `network`; by default of all.

    The head that says words is not among them, unless it is named. PEFT is asked on a copy without weights,
    so the network is not touched.

    Raises:
        PromptError: if the names stand for no layer, or for one that is not linear.
    """
    with torch.device("meta"):
        skeleton = type(network)(network.config)
    settings = LoraConfig(target_modules=list(targets) or "all-linear", task_type="CAUSAL_LM")
    try:
        with warnings.catch_warnings():
            # That weights of some families lie the other way round matters only where PEFT runs them.
            warnings.filterwarnings("ignore", message="fan_in_fan_out is set to False")
            inject_adapter_in_model(settings, skeleton, low_cpu_mem_usage=True)
    except ValueError as error:
        asked = ", ".join(targets) or "every linear layer"
        reason = " ".join(str(error).split())
        raise PromptError(
            f"LoRA cannot change {asked} of {network.config.model_type}: {reason[:200]}; "
            "name layers with --lora-target"
        ) from error
    # A network may have been loaded without some of the layers that its configuration speaks of.
    present = dict(cast(nn.Module, network).named_modules())
    found = {}
    for name, layer in skeleton.named_modules():
        if not isinstance(layer, BaseTunerLayer) or name not in present:
            continue
        if not isinstance(layer, Linear):
            raise PromptError(
                f"LoRA changes linear layers here, and {name} is none; name others with --lora-target"
            )
        shape = linear_shape(layer.get_base_layer())
        assert shape is not None
        found[name] = shape
    return found
