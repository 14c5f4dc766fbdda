"""What a search chooses among: the rows and folds of a task, its loss, and the candidates of a run."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from tuningfork.data.example import Example
from tuningfork.errors import TaskError
from tuningfork.library.run_records import TuneOptions
from tuningfork.models.frozen import FrozenModel
from tuningfork.recipes.preparation import Prepared, RenderedRows
from tuningfork.recipes.pretrained_prompts import pretrained_prompt
from tuningfork.tasks.metrics import get_metric
from tuningfork.training.arguments import TrainingArguments
from tuningfork.training.loop import Candidate, Validate
from tuningfork.training.objectives import ChoiceObjective, Objective, TokenObjective
from tuningfork.tuning.soft.defaults import (
    LEARNING_RATES,
    NUM_VIRTUAL_TOKENS_WITHOUT_TEXT,
    SEARCHED_METHODS,
)
from tuningfork.tuning.soft.initializers import Start, initial_embeddings
from tuningfork.tuning.soft.method import begin
from tuningfork.tuning.soft.registry import SOFT_METHODS, get_soft_method
from tuningfork.types import TokenIds, TrainingRow


@dataclass(frozen=True, slots=True)
class TrainingFold:
    """Rows to train on, and the judge that holds the others."""

    rows: Sequence[TrainingRow]
    validate: Validate


@dataclass(frozen=True, slots=True)
class SearchSpace:
    """What the candidates of one run share."""

    model: FrozenModel
    folds: Sequence[TrainingFold]
    """One, or those of a cross-validation."""
    text_ids: TokenIds
    label_ids: Sequence[TokenIds]
    objective: Objective
    options: TuneOptions
    task_type: str
    metric: str
    higher_is_better: bool
    refit_rows: Sequence[TrainingRow] | None = None
    """All rows, where the chosen setting is trained on those that chose it too; several folds need it."""


def search_space(
    model: FrozenModel,
    prepared: Prepared,
    options: TuneOptions,
    judge: Callable[[Sequence[Example]], Validate],
) -> SearchSpace:
    """Wire the data of a task for a search; `judge` makes the judge that holds some rows.

    Raises:
        TaskError: if the options name a loss that the task does not have.
    """
    renderer, task = prepared.renderer, prepared.task
    words = (task.labels or {}).values()
    trains_on_all = prepared.is_cross_validated or options.refit == "yes"
    return SearchSpace(
        model=model,
        folds=[
            TrainingFold(RenderedRows(renderer, fold.train), judge(fold.validation))
            for fold in prepared.folds
        ],
        text_ids=renderer.prefix_ids,
        label_ids=[model.tokenizer(word, add_special_tokens=False).input_ids for word in words],
        objective=objective_of(prepared, options),
        options=options,
        task_type=task.type,
        metric=task.metric,
        higher_is_better=get_metric(task.metric).higher_is_better,
        refit_rows=RenderedRows(renderer, prepared.rows) if trains_on_all else None,
    )


def objective_of(prepared: Prepared, options: TuneOptions) -> Objective:
    """The loss that a task is trained with.

    Raises:
        TaskError: if the options name one that the task does not have.
    """
    choices = prepared.renderer.choices
    if options.objective == "labels" and choices is None:
        raise TaskError(f"objective labels needs a classification task; this one is {prepared.task.type}")
    if choices is None or options.objective == "tokens":
        return TokenObjective()
    return ChoiceObjective(
        choices.choice_ids,
        normalizes_length=choices.normalizes_length,
        label_smoothing=options.label_smoothing,
    )


def plan_candidates(space: SearchSpace) -> list[Candidate]:
    """Every method with every learning rate, all from the same start.

    Raises:
        PromptError: if a method or the initialisation is unknown or impossible here.
    """
    options = space.options
    names = options.methods or tuple(
        name
        for name in SEARCHED_METHODS
        if space.model.support.path == "shared" or SOFT_METHODS[name].kind == "input"
    )
    pretrained = None
    if options.initialization == "pretrained":
        pretrained = pretrained_prompt(space.model, space.task_type)
    from_text = len(space.text_ids) + (0 if pretrained is None else len(pretrained))
    embeddings = initial_embeddings(
        options.initialization,
        Start(
            model=space.model,
            num_virtual_tokens=options.num_virtual_tokens or from_text or NUM_VIRTUAL_TOKENS_WITHOUT_TEXT,
            text_ids=space.text_ids,
            label_ids=space.label_ids,
            generator=torch.Generator().manual_seed(options.seed),
            pretrained=pretrained,
        ),
    )
    methods = list(map(get_soft_method, names))
    for method in methods:
        # What a method cannot do here is said now, not when those before it have been trained.
        begin(method, space.model, embeddings, num_labels=space.objective.num_labels)
    candidates = [
        Candidate(
            name=f"{method.name}-lr{rate:g}-seed{options.seed}",
            method=method,
            embeddings=embeddings,
            arguments=_arguments(options, rate),
            objective=space.objective,
        )
        for method in methods
        for rate in options.learning_rates or LEARNING_RATES[method.name]
    ]
    return list({candidate.name: candidate for candidate in candidates}.values())


def _arguments(options: TuneOptions, learning_rate: float) -> TrainingArguments:
    return TrainingArguments(
        learning_rate=learning_rate,
        max_steps=options.max_steps,
        batch_size=options.batch_size,
        micro_batch_size=options.micro_batch_size,
        schedule=options.schedule,
        weight_decay=options.weight_decay,
        validate_every=options.validate_every,
        patience=options.patience,
        checkpoint_every=options.checkpoint_every,
        seed=options.seed,
    )
