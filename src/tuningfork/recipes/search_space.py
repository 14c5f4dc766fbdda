"""What a search chooses among: the rows and folds of a task, its loss, and the candidates of a run."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path

import torch
from torch import Tensor

from tuningfork.data.example import Example
from tuningfork.errors import PromptError, TaskError
from tuningfork.library.run_records import TuneOptions
from tuningfork.models.frozen import FrozenModel
from tuningfork.recipes.adapters import with_adapters
from tuningfork.recipes.arrangement import (
    REPLACING_TEXT,
    Arrangement,
    arrangements_of,
    natural_placement,
    row_format,
)
from tuningfork.recipes.preparation import Prepared, RenderedRows
from tuningfork.recipes.pretrained_prompts import pretrained_prompt
from tuningfork.recipes.prompt_transfer import transferred_prompt
from tuningfork.tasks.rendering import RowRenderer
from tuningfork.tasks.tagging import TagRenderer
from tuningfork.training.arguments import TrainingArguments
from tuningfork.training.loop import Candidate, Validate
from tuningfork.training.objectives import (
    ChoiceObjective,
    Objective,
    ScoredObjective,
    TagObjective,
    TokenObjective,
)
from tuningfork.tuning.soft.defaults import (
    LEARNING_RATES,
    NUM_PLACED_TOKENS,
    NUM_VIRTUAL_TOKENS_WITHOUT_TEXT,
    SEARCHED_METHODS,
    Placement,
)
from tuningfork.tuning.soft.headed import Headed
from tuningfork.tuning.soft.initializers import Start, initial_embeddings
from tuningfork.tuning.soft.method import SoftMethod, begin
from tuningfork.tuning.soft.registry import SOFT_METHODS, get_soft_method
from tuningfork.tuning.weights.low_rank import WordsAlone
from tuningfork.types import TokenIds, TrainingRow


@dataclass(frozen=True, slots=True)
class TrainingFold:
    """Rows to train on, and the judge that holds the others."""

    rows: Sequence[TrainingRow]
    validate: Validate


@dataclass(frozen=True, slots=True)
class ArrangedRows:
    """The rows of a task as they are for one placement of virtual tokens."""

    arrangement: Arrangement
    folds: Sequence[TrainingFold]
    """One, or those of a cross-validation."""
    refit: Sequence[TrainingRow] | None = None
    """All rows, where the chosen setting is trained on those that chose it too; several folds need it."""


@dataclass(frozen=True, slots=True)
class SearchSpace:
    """What the candidates of one run share."""

    model: FrozenModel
    rows: Mapping[Placement, ArrangedRows]
    """One entry at least; all with as many folds."""
    text_ids: TokenIds
    label_ids: Sequence[TokenIds]
    objective: Objective
    options: TuneOptions
    task_type: str
    metric: str
    higher_is_better: bool
    room: int | None = None
    """Tokens that a prompt may have in front of every row; None if there is no limit."""

    @property
    def num_folds(self) -> int:
        """Trainings that judge a candidate."""
        return len(next(iter(self.rows.values())).folds)


@dataclass(frozen=True, slots=True)
class _StartPoint:
    """Where virtual tokens in front start."""

    initialization: str
    num_replacing_text: int | None
    """How many take the place of the text prompt; None takes as many as it has tokens."""


def search_space(
    model: FrozenModel,
    prepared: Prepared,
    options: TuneOptions,
    judge: Callable[[RowRenderer, Sequence[Example]], Validate],
) -> SearchSpace:
    """Wire the data of a task for a search; `judge` makes the judge that holds some rows.

    Raises:
        TaskError: if the options name a loss that the task does not have.
        PromptError: if they name a placement that its prompt does not have.
    """
    task = prepared.task
    words = (task.labels or {}).values()
    trains_on_all = prepared.is_cross_validated or options.refit == "yes"

    def arranged(arrangement: Arrangement) -> ArrangedRows:
        renderer = arrangement.renderer
        return ArrangedRows(
            arrangement,
            folds=[
                TrainingFold(RenderedRows(renderer, fold.train), judge(renderer, fold.validation))
                for fold in prepared.folds
            ],
            refit=RenderedRows(renderer, prepared.rows) if trains_on_all else None,
        )

    arrangements = arrangements_of(task, model.tokenizer, options, **row_format(model))
    if not options.placements and prepared.room is not None:
        # What nobody asked for is tried where it fits.
        needed = len(prepared.renderer.prefix_ids) + NUM_PLACED_TOKENS
        arrangements = {p: a for p, a in arrangements.items() if p != "both" or needed <= prepared.room}
    return SearchSpace(
        model=model,
        rows={placement: arranged(arrangement) for placement, arrangement in arrangements.items()},
        text_ids=prepared.renderer.words_ids()
        if prepared.renderer.fills_masks
        else prepared.renderer.prefix_ids,
        label_ids=[model.tokenizer(word, add_special_tokens=False).input_ids for word in words],
        objective=objective_of(prepared, options),
        options=options,
        task_type=task.type,
        metric=task.metric,
        higher_is_better=task.scoring.higher_is_better,
        room=prepared.room,
    )


def objective_of(prepared: Prepared, options: TuneOptions) -> ScoredObjective:
    """The loss that a task is trained with.

    Raises:
        TaskError: if the options name one that the task does not have.
    """
    choices = prepared.renderer.choices
    if isinstance(prepared.renderer, TagRenderer):
        if options.objective == "tokens":
            raise TaskError("objective tokens: tags are told apart and not said; use --objective labels")
        return TagObjective(len(prepared.renderer.tags), label_smoothing=options.label_smoothing)
    if options.objective == "labels" and choices is None:
        raise TaskError(f"objective labels needs a classification task; this one is {prepared.task.type}")
    if options.objective == "tokens" and prepared.renderer.fills_masks:
        raise TaskError(
            "objective tokens: an encoder says no next token; it learns to tell labels apart "
            "(--objective labels)"
        )
    if choices is None or options.objective == "tokens":
        return TokenObjective()
    return ChoiceObjective(
        choices.choice_ids,
        normalizes_length=choices.normalizes_length,
        label_smoothing=options.label_smoothing,
    )


def plan_candidates(space: SearchSpace) -> list[Candidate]:
    """Every method with every placement, start, seed and learning rate.

    Raises:
        PromptError: if a method, a placement or the initialisation is unknown or impossible here.
        RunError: if the run to start from cannot be used here.
        ModelError: if gradient checkpointing is asked for and impossible here.
    """
    _check_start(space)
    if space.options.gradient_checkpointing:
        with space.model.recomputing_layers():
            pass
    options = space.options
    seeds = range(options.seed, options.seed + options.num_searched_seeds)
    candidates = []
    for arranged in space.rows.values():
        for start, seed in product(_starts(space, arranged.arrangement.placement), seeds):
            embeddings = arranged.arrangement.initial(partial(_initial_embeddings, space, start, seed))
            for method in _methods(space, arranged.arrangement.placement):
                placed = _headed(arranged.arrangement.placed(method, len(embeddings)), space)
                _check_head(placed, space)
                # What a method cannot do here is said now, not when those before it have been trained.
                module = begin(
                    placed, space.model, embeddings, num_labels=space.objective.num_labels, room=space.room
                )
                with torch.no_grad():
                    space.model.prefix([placed.materialize(module)])
                for rate in options.learning_rates or LEARNING_RATES[method.name]:
                    arguments = options.training_arguments(rate, seed)
                    candidates.append(
                        Candidate(
                            name=_name(placed, arranged.arrangement.placement, start, arguments, options),
                            method=placed,
                            embeddings=embeddings,
                            arguments=arguments,
                            objective=space.objective,
                            placement=arranged.arrangement.placement,
                            room=space.room,
                            initialization=start.initialization,
                        )
                    )
    text = _text_alone(space) if space.options.lora_alone else None
    candidates = with_adapters(candidates, space.model, space.options, text)
    return list({candidate.name: candidate for candidate in candidates}.values())


def _starts(space: SearchSpace, placement: Placement) -> list[_StartPoint]:
    """Every initialisation with every number of virtual tokens that take the place of the text prompt."""
    counts = space.options.num_virtual_tokens if placement in REPLACING_TEXT else ()
    return [_StartPoint(*pair) for pair in product(space.options.initializations, counts or (None,))]


def _name(
    method: SoftMethod,
    placement: Placement,
    start: _StartPoint,
    arguments: TrainingArguments,
    options: TuneOptions,
) -> str:
    """What a candidate is called: how it differs from the others."""
    parts = [method.name] if placement == "front" else [method.name, placement]
    if len(options.initializations) > 1:
        parts.append(start.initialization)
    if len(options.num_virtual_tokens) > 1:
        parts.append(f"p{start.num_replacing_text}")
    return "-".join([*parts, f"lr{arguments.learning_rate:g}", f"seed{arguments.seed}"])


def _text_alone(space: SearchSpace) -> Candidate:
    """The text prompt as it is, for an adapter to learn behind."""
    if "front" not in space.rows:
        raise PromptError("--lora-alone learns behind the text prompt; add --placement front")
    return Candidate(
        name="text",
        method=WordsAlone(space.text_ids),
        embeddings=torch.zeros(0, space.model.hidden_size),
        arguments=space.options.training_arguments(1.0),
        objective=space.objective,
        room=space.room,
    )


def _methods(space: SearchSpace, placement: Placement) -> list[SoftMethod]:
    """Those asked for, or all searched ones that the model and the placement can take."""
    named = [get_soft_method(name) for name in space.options.methods]
    searched = [SOFT_METHODS[name] for name in SEARCHED_METHODS]
    support, kinds = space.model.support, {"input"}
    if space.model.is_encoder_decoder:
        is_asked = bool(space.options.placements) or placement == "markers"
        fitting = [m for m in named or searched if is_asked or natural_placement(m) == placement]
        kinds |= {"key-value"} if placement == "decoder" else set()
        return fitting if named else [method for method in fitting if method.kind in kinds]
    if named:
        return named
    if placement == "front":
        kinds |= {"key-value"} if support.takes_key_values else set()
        kinds |= {"instance"} if support.path == "shared" and not _has_head(space) else set()
    return [method for method in searched if method.kind in kinds]


def _has_head(space: SearchSpace) -> bool:
    """Whether all prompts have a head: as asked, or because the model says no words."""
    return space.options.head or not space.model.says_words


def _headed(method: SoftMethod, space: SearchSpace) -> SoftMethod:
    return Headed(method) if _has_head(space) and method.kind != "headed" else method


def _check_head(method: SoftMethod, space: SearchSpace) -> None:
    if isinstance(space.objective, TagObjective) and method.kind != "headed":
        raise PromptError(
            f"{method.name}: the tags of words are read by a trained head, and this prompt has none; add "
            "--head"
        )


def _check_start(space: SearchSpace) -> None:
    options = space.options
    if options.start_from is None:
        return
    if not {"front", "both", "encoder_decoder"} & set(space.rows):
        raise PromptError(
            f"--start-from: no virtual tokens take the place of the text prompt with placement "
            f"{', '.join(space.rows)}; add --placement front"
        )
    if options.num_virtual_tokens:
        raise PromptError("--start-from takes as many virtual tokens as that run has; leave --virtual-tokens")


def _words(space: SearchSpace) -> TokenIds:
    """The text prompt without BOS and chat header, which do not belong in the middle of a row."""
    special = set(space.model.tokenizer.all_special_ids)
    return [token for token in space.text_ids if token not in special] or space.text_ids


def _initial_embeddings(space: SearchSpace, point: _StartPoint, seed: int, count: int | None) -> Tensor:
    """Embeddings (P, H) to start from: `count` of them, or as many as replace the text prompt."""
    options, pretrained = space.options, None
    if count is None and options.start_from is not None:
        return transferred_prompt(Path(options.start_from), space.model)
    # What a model ships for a type of task stands in front, and nowhere else.
    name = point.initialization
    name = "text" if count is not None and name == "pretrained" else name
    if name == "pretrained":
        pretrained = pretrained_prompt(space.model, space.task_type)
    from_text = len(space.text_ids) + (0 if pretrained is None else len(pretrained))
    replacing_text = point.num_replacing_text or from_text or NUM_VIRTUAL_TOKENS_WITHOUT_TEXT
    start = Start(
        model=space.model,
        num_virtual_tokens=count or replacing_text,
        text_ids=space.text_ids if count is None else _words(space),
        label_ids=space.label_ids,
        generator=torch.Generator().manual_seed(seed),
        pretrained=pretrained,
    )
    return initial_embeddings(name, start)
