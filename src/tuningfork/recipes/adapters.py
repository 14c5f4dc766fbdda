"""LoRA in a search: candidates that learn an adapter beside their prompt, or behind the text alone."""

from collections.abc import Sequence
from dataclasses import replace

from tuningfork.errors import PromptError
from tuningfork.library.run_records import AdapterRecord, TuneOptions
from tuningfork.models.frozen import FrozenModel
from tuningfork.training.loop import Candidate
from tuningfork.tuning.weights.low_rank import LowRankSettings, WithLowRank, with_low_rank

DEFAULT_LEARNING_RATE = 1e-3
"""Of the adapter, where none is named."""


def adapter_settings(options: TuneOptions) -> list[LowRankSettings]:
    """The adapters that a run tries; none if it asks for none.

    Raises:
        PromptError: if something is asked of adapters, but no rank is given.
    """
    if options.lora_rank is None:
        asked = {
            "--lora-alpha": options.lora_alpha,
            "--lora-learning-rate": options.lora_learning_rates,
            "--lora-target": options.lora_targets,
            "--lora-alone": options.lora_alone,
        }
        if given := [name for name, value in asked.items() if value]:
            raise PromptError(f"{given[0]} needs --lora-rank, such as --lora-rank 8")
        return []
    if options.ensemble or options.gradient_checkpointing:
        other = "--ensemble" if options.ensemble else "--gradient-checkpointing"
        raise PromptError(f"--lora-rank does not go with {other} yet; leave out one of them")
    return [
        LowRankSettings(
            rank=options.lora_rank,
            alpha=options.lora_alpha or 2.0 * options.lora_rank,
            learning_rate=rate,
            targets=options.lora_targets,
        )
        for rate in options.lora_learning_rates or (DEFAULT_LEARNING_RATE,)
    ]


def with_adapters(
    candidates: Sequence[Candidate], model: FrozenModel, options: TuneOptions, text: Candidate | None
) -> list[Candidate]:
    """`candidates`, each with every adapter that the options ask for; as they are, if they ask for none.

    With `text`, the text prompt as it is, each adapter is tried alone behind it, too.

    Raises:
        PromptError: if the options of adapters contradict each other or name layers that cannot be changed.
    """
    settings = adapter_settings(options)
    if not settings:
        return list(candidates)
    # Only now: PEFT takes seconds to load, and prompts alone do not need it.
    from tuningfork.tuning.weights.linear_layers import linear_layers

    # What cannot be changed is said now, not when everything else has been trained.
    linear_layers(model.network, options.lora_targets)
    adapted = [_adapted(candidate, adapter) for candidate in candidates for adapter in settings]
    return adapted if text is None else [*adapted, *(_alone(text, adapter) for adapter in settings)]


def adapter_record(candidate: Candidate) -> AdapterRecord | None:
    """What is written down of the adapter of `candidate`; None if it has none."""
    if not isinstance(candidate.method, WithLowRank):
        return None
    settings = candidate.method.settings
    return AdapterRecord(
        rank=settings.rank,
        alpha=settings.alpha,
        learning_rate=settings.learning_rate,
        targets=settings.targets,
    )


def _adapted(candidate: Candidate, settings: LowRankSettings) -> Candidate:
    stem, _, end = candidate.name.rpartition("-lr")
    rate = candidate.arguments.learning_rate
    return replace(
        candidate,
        name=f"{stem}-lora{settings.rank}x{settings.learning_rate:g}-lr{end}",
        method=with_low_rank(candidate.method, settings, learning_rate=rate),
    )


def _alone(text: Candidate, settings: LowRankSettings) -> Candidate:
    rate = settings.learning_rate
    return replace(
        text,
        name=f"lora{settings.rank}-lr{rate:g}-seed{text.arguments.seed}",
        method=with_low_rank(text.method, settings, learning_rate=rate),
        arguments=replace(text.arguments, learning_rate=rate),
    )
