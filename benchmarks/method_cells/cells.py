"""One cell of the comparison: one way of prompting on one task, trained for several seeds and scored."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.embedded.tasks import EXAMPLES, Draw, task_of
from benchmarks.method_cells.peft_training import (
    PEFT_WAYS,
    PeftSearch,
    PeftWay,
    RowsWithText,
    peft_candidates,
    trained_without_search,
)
from tuningfork.data.example import Example
from tuningfork.errors import PromptError
from tuningfork.evaluation.evaluate import Evaluation, Evaluator
from tuningfork.events import NullSink
from tuningfork.library.run_folder import RunFolder
from tuningfork.library.run_records import TEXT_PROMPT, TuneOptions
from tuningfork.models.frozen import FrozenModel
from tuningfork.models.machine import peak_memory_bytes
from tuningfork.recipes.arrangement import Arrangement
from tuningfork.recipes.preparation import Prepared, RenderedRows, prepare
from tuningfork.recipes.search import Search, SearchResult
from tuningfork.recipes.search_space import (
    ArrangedRows,
    SearchSpace,
    TrainingFold,
    plan_candidates,
    search_space,
)
from tuningfork.tasks.rendering import RowRenderer
from tuningfork.tasks.task import Task
from tuningfork.training.arguments import TrainingArguments
from tuningfork.training.loop import TrainingOutcome, Validate
from tuningfork.training.objectives import TokenObjective
from tuningfork.tuning.soft.registry import SOFT_METHODS

Record = dict[str, Any]

TASKS = ("banking77_6", "ticket_routing", "review_sentiment", "banking77_20", EXAMPLES[2], EXAMPLES[3])
"""Cheap and decisive ones first."""
DEFAULT = "default"
OUR_WAYS: Mapping[str, Mapping[str, Any]] = {
    DEFAULT: {},
    "prompt_tuning": {"methods": ("prompt_tuning",)},
    "prompt_tuning both": {"methods": ("prompt_tuning",), "placements": ("both",)},
    "prompt_tuning suffix": {"methods": ("prompt_tuning",), "placements": ("suffix",)},
    **{name: {"methods": (name,)} for name in SOFT_METHODS if name != "prompt_tuning"},
}
"""What is asked of `tune`: nothing, or a method at its own learning rates."""
WAYS = (TEXT_PROMPT, DEFAULT, *PEFT_WAYS, *(way for way in OUR_WAYS if way != DEFAULT))
MEASURED, NOT_POSSIBLE = "measured", "not possible"


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is trained in a cell."""

    max_steps: int = 60
    num_seeds: int = 5
    num_test_rows: int | None = None
    """Only so many of them are scored; None scores all."""
    rates: tuple[float, ...] = ()
    """In place of those of the methods, if any."""

    def options(self, way: str) -> TuneOptions:
        """What `tune` would be given for one of `OUR_WAYS`."""
        return TuneOptions(
            max_steps=self.max_steps, num_seeds=self.num_seeds, learning_rates=self.rates, **OUR_WAYS[way]
        )


@dataclass(frozen=True, slots=True)
class Trained:
    """What the trainings of a cell have come to."""

    seeds: Sequence[TrainingOutcome]
    """Those to score; none where the text prompt was kept."""
    renderer: RowRenderer
    seconds: float
    """Of all trainings, with what judged them on held-out rows."""
    settings: Record


class Cell:
    """Measures one way on one task."""

    def __init__(
        self, model: FrozenModel, task_name: str, way: str, banking77: Path, work: Path, scale: Scale
    ) -> None:
        self._model = model
        self._way = way
        self._task_name = task_name
        self._work = work
        self._scale = scale
        self._task: Task = task_of(Draw(task_name, 0), banking77, work)

    def measure(self) -> Record:
        """Train, score every seed on the test rows, and say all of it."""
        options = self._scale.options(self._way if self._way in OUR_WAYS else DEFAULT)
        prepared = prepare(self._task, self._model, options, NullSink())
        record = {"task": self._task_name, "way": self._way, "model": self._model.identity().weights}
        resident = peak_memory_bytes(self._model.device)
        started, used = time.perf_counter(), time.process_time()
        try:
            trained = self._train(prepared, options)
        except PromptError as error:
            return {**record, "status": NOT_POSSIBLE, "reason": str(error)}
        costs = {
            "seconds": round(trained.seconds, 2),
            "wall_seconds": round(time.perf_counter() - started, 2),
            "processor_seconds": round(time.process_time() - used, 2),
            "peak_bytes": peak_memory_bytes(self._model.device),
            "peak_bytes_before": resident,
            "threads": torch.get_num_threads(),
            "max_steps": self._scale.max_steps,
        }
        scored = self._scored(trained, prepared, prepared.test[: self._scale.num_test_rows])
        return {**record, "status": MEASURED, **costs, "settings": trained.settings, **scored}

    def _train(self, prepared: Prepared, options: TuneOptions) -> Trained:
        if self._way == TEXT_PROMPT:
            return Trained((), prepared.renderer, 0.0, {"answer": "text", "trained_parameters": 0})
        if self._way in PEFT_WAYS:
            return self._train_peft(PEFT_WAYS[self._way], prepared, options)
        space = search_space(self._model, prepared, options, _judge(self._model, prepared))
        candidates = plan_candidates(space)
        search = Search(space, self._folder(), NullSink())
        found = search.run(candidates)
        renderer = space.rows[found.winner.candidate.placement].arrangement.renderer
        kept = self._way == DEFAULT and not self._beats_text(found, prepared)
        return Trained(
            () if kept else found.seeds,
            prepared.renderer if kept else renderer,
            _seconds(search, found),
            {**_settings(found), "answer": "text" if kept else "soft"},
        )

    def _train_peft(self, way: PeftWay, prepared: Prepared, options: TuneOptions) -> Trained:
        renderer = prepared.renderer
        if way.keeps_text:
            renderer = RowsWithText(prepared.task, self._model.tokenizer)
        arguments = TrainingArguments(1.0, max_steps=options.max_steps, seed=options.seed)
        chosen = replace(way, rates=options.learning_rates[:1] or way.rates)
        candidates = peft_candidates(chosen, self._model, prepared, arguments)
        rows = RenderedRows(renderer, prepared.rows)
        if not way.is_searched:
            seeds = trained_without_search(candidates[0], self._model, rows, options.num_seeds)
            seconds = sum(seed.progress.seconds for seed in seeds)
            return Trained(seeds, renderer, seconds, {**_settings_of(seeds[0]), "answer": "soft"})
        space = _peft_space(self._model, prepared, options, renderer)
        search = PeftSearch(space, self._folder())
        found = search.run(candidates)
        return Trained(found.seeds, renderer, _seconds(search, found), {**_settings(found), "answer": "soft"})

    def _folder(self) -> RunFolder:
        """Where checkpoints of this cell go; they are not kept."""
        folder = self._work / "run"
        (folder / "checkpoints").mkdir(parents=True)
        return RunFolder(folder)

    @torch.no_grad()
    def _beats_text(self, found: SearchResult, prepared: Prepared) -> bool:
        """Whether `tune` would answer with what it tuned, by held-out rows."""
        text = self._model.prefix([prepared.renderer.prefix_ids])
        judged = _judge(self._model, prepared)(prepared.renderer, prepared.validation)(text)
        return found.winner.quality(found.winner.best) > found.winner.quality(judged)

    @torch.no_grad()
    def _scored(self, trained: Trained, prepared: Prepared, test: Sequence[Example]) -> Record:
        evaluator = Evaluator(self._model, prepared.task, trained.renderer)
        prefixes = [self._model.prefix([seed.prompt]) for seed in trained.seeds]
        prefixes = prefixes or [self._model.prefix([prepared.renderer.prefix_ids])]
        found = [evaluator.evaluate(prefix, test) for prefix in prefixes]
        return {"metric": evaluator.metric.name, **stored_answers(found, [list(e.targets) for e in test])}


def stored_answers(evaluations: Sequence[Evaluation], targets: Sequence[Sequence[str]]) -> Record:
    """Scores, predictions and targets; texts are numbered, as most of them stand there many times."""
    said = {text for found in evaluations for text in found.predictions}
    texts = sorted(said | {text for references in targets for text in references})
    number = {text: index for index, text in enumerate(texts)}
    return {
        "scores": [found.mean_score for found in evaluations],
        "log_losses": [round(found.mean_log_loss, 4) for found in evaluations],
        "texts": texts,
        "targets": [[number[text] for text in references] for references in targets],
        "predictions": [[number[text] for text in found.predictions] for found in evaluations],
    }


def _judge(model: FrozenModel, prepared: Prepared) -> Callable[[RowRenderer, Sequence[Example]], Validate]:
    """As `tune` judges: few rows by their log-loss alone, which needs no answers to be generated."""

    def judge(renderer: RowRenderer, held_out: Sequence[Example]) -> Validate:
        evaluator = Evaluator(model, prepared.task, renderer)
        return lambda prefix: evaluator.validate(prefix, held_out, generates=not prepared.is_cross_validated)

    return judge


def _peft_space(
    model: FrozenModel, prepared: Prepared, options: TuneOptions, renderer: RowRenderer
) -> SearchSpace:
    """Our search space for prompts in front, with rows as PEFT is given them and the Trainer's loss."""
    judge = _judge(model, prepared)
    space = search_space(model, prepared, options.model_copy(update={"placements": ("front",)}), judge)
    arranged = ArrangedRows(
        Arrangement("front", renderer),
        folds=[
            TrainingFold(RenderedRows(renderer, fold.train), judge(renderer, fold.validation))
            for fold in prepared.folds
        ],
        refit=None if space.rows["front"].refit is None else RenderedRows(renderer, prepared.rows),
    )
    return replace(space, rows={"front": arranged}, objective=TokenObjective())


def _seconds(search: Search, found: SearchResult) -> float:
    """Of every training of a search."""
    refitted = [seed for seed in found.seeds if seed.candidate.name not in search.outcomes]
    return sum(outcome.seconds for outcome in search.outcomes.values()) + sum(
        seed.progress.seconds for seed in refitted
    )


def _settings(found: SearchResult) -> Record:
    """What held-out rows chose."""
    return {
        **_settings_of(found.seeds[0]),
        "steps": found.winner.best_step,
        "held_out_log_loss": round(found.winner.best.log_loss, 4),
    }


def _settings_of(seed: TrainingOutcome) -> Record:
    candidate = seed.candidate
    return {
        "method": candidate.method.name,
        "placement": candidate.placement,
        "start": candidate.initialization,
        "learning_rate": candidate.arguments.learning_rate,
        "steps": seed.progress.step,
        "num_virtual_tokens": seed.prompt.num_virtual_tokens,
        "trained_parameters": seed.num_trained_parameters,
    }
