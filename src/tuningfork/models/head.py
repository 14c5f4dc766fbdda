"""From hidden states to logits, with the model's own scale and softcap."""

from collections.abc import Callable

import torch
from torch import Tensor
from transformers import PretrainedConfig, PreTrainedModel

Transform = Callable[[Tensor], Tensor]


class LogitsHead:
    """The output layer of a model that says words, applied to chosen positions only.

    Models scale or cap their logits inside `forward`, out of reach of a caller who has only hidden states,
    and families give the same config field opposite meanings. So the transform is read from the config as a
    list of candidates, and the one that reproduces the model's own logits on a probe is kept.
    """

    def __init__(self, network: PreTrainedModel) -> None:
        self._projection = network.get_output_embeddings()  # type: ignore[no-untyped-call]
        self._candidates = _transforms(network.config.get_text_config(decoder=True))
        self._transform: Transform = self._candidates[0]
        self._bias: Tensor | None = getattr(network, "final_logits_bias", None)

    def __call__(self, hidden: Tensor) -> Tensor:
        """Logits (N, V) in float32 for hidden states (N, H)."""
        logits = self._transform(self._projection(hidden)).float()
        # Added last by the encoder-decoder models that have one, as a buffer of (1, V).
        return logits if self._bias is None else logits + self._bias.float()

    def fit(self, hidden: Tensor, expected: Tensor) -> bool:
        """Keep the transform that turns `hidden` (N, H) into `expected` (N, V); False if none does."""
        tolerance = 1e-4 if hidden.dtype == torch.float32 else 2e-2
        for candidate in self._candidates:
            self._transform = candidate
            found = self(hidden)
            if found.shape != expected.shape:
                return False
            if (found - expected.float()).abs().max() <= tolerance * expected.float().abs().max().clamp(
                min=1e-6
            ):
                return True
        return False


def _transforms(config: PretrainedConfig) -> list[Transform]:
    softcap = getattr(config, "final_logit_softcapping", None)
    scales = {1.0}
    for field in ("logits_scaling", "logit_scale", "lm_head_multiplier", "output_multiplier_scale"):
        value = getattr(config, field, None)
        if isinstance(value, int | float) and value:
            scales |= {float(value), 1.0 / float(value)}
    if getattr(config, "is_encoder_decoder", False) and isinstance(width := config.hidden_size, int):
        # T5 scales what its decoder gives where it reads words off the tied embeddings.
        scales.add(width**-0.5)

    def transform(scale: float) -> Transform:
        def apply(logits: Tensor) -> Tensor:
            if scale != 1.0:
                logits = logits * scale
            return softcap * torch.tanh(logits / softcap) if softcap else logits

        return apply

    return [transform(scale) for scale in sorted(scales, key=lambda scale: (scale == 1.0, scale))]
