"""Reading a saved encoder: with its masked-LM head, if it has one."""

from collections.abc import Mapping
from typing import Any

from transformers import AutoModel, AutoModelForMaskedLM


def read_encoder(source: str, settings: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Load the encoder at `source`, and return it with what transformers reports of the loading.

    Without a complete masked-LM head among its weights, as in a model that was saved for sequence
    classification, it is loaded bare. A pooler is left out: it is part of classifiers that were trained with
    it, is never run here, and where its weights were not saved they would be drawn anew with each loading.
    """
    loaded: Any = AutoModelForMaskedLM.from_pretrained(source, **settings)
    if not loaded[1]["missing_keys"]:
        return loaded[0], loaded[1]
    network, report = AutoModel.from_pretrained(source, **settings)
    if getattr(network, "pooler", None) is not None:
        network.pooler = None
    missing = {name for name in report["missing_keys"] if not name.startswith("pooler.")}
    return network, {**report, "missing_keys": missing}
