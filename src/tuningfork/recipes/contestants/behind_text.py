"""What trains weights behind the text prompt: the same rows, folds and loss that prompts are tuned with."""

from functools import partial

import torch

from tuningfork.library.run_records import TuneOptions
from tuningfork.models.frozen import FrozenModel
from tuningfork.recipes.arrangement import Arrangement
from tuningfork.recipes.contestants.trained import judge_of
from tuningfork.recipes.preparation import Prepared, RenderedRows
from tuningfork.recipes.search_space import ArrangedRows, SearchSpace, TrainingFold, objective_of
from tuningfork.training.loop import Candidate
from tuningfork.tuning.weights.low_rank import WordsAlone


def why_not_behind_text(model: FrozenModel, prepared: Prepared) -> str | None:
    """Why weights cannot be trained behind the text prompt of a task; None if they can."""
    if prepared.task.has_tags:
        return "tags of words are read by the trained head of a prompt; the text prompt says none"
    if not model.says_words:
        return f"{model.name} says no words, and the text prompt has no trained head"
    return None


def space_behind_text(model: FrozenModel, prepared: Prepared, options: TuneOptions) -> SearchSpace:
    """The search space of what is learned by `model` behind the text prompt as it is."""
    task, renderer = prepared.task, prepared.renderer
    judge = partial(judge_of, model, prepared, renderer)
    trains_on_all = prepared.is_cross_validated or options.refit == "yes"
    rows = ArrangedRows(
        Arrangement("front", renderer),
        folds=[
            TrainingFold(RenderedRows(renderer, fold.train), judge(fold.validation))
            for fold in prepared.folds
        ],
        refit=RenderedRows(renderer, prepared.rows) if trains_on_all else None,
    )
    return SearchSpace(
        model=model,
        rows={"front": rows},
        text_ids=renderer.prefix_ids,
        label_ids=[],
        objective=objective_of(prepared, options),
        options=options,
        task_type=task.type,
        metric=task.metric,
        higher_is_better=task.scoring.higher_is_better,
        room=prepared.room,
    )


def text_candidate(space: SearchSpace) -> Candidate:
    """A candidate that learns nothing, at a rate of 1: the text prompt, for weights to be learned behind."""
    return Candidate(
        name="text",
        method=WordsAlone(space.text_ids),
        embeddings=torch.zeros(0, space.model.hidden_size),
        arguments=space.options.training_arguments(1.0),
        objective=space.objective,
        room=space.room,
    )
