"""The main job: examples in, a better prompt out, with the proof."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tuningfork.data.example import Example
from tuningfork.errors import RunError
from tuningfork.evaluation.evaluate import Evaluator
from tuningfork.evaluation.tagging import evaluator_for, tag_log_probabilities
from tuningfork.events import EventSink, FanOutSink, Notice, NullSink, StageFinished, StageStarted
from tuningfork.library.run_folder import RunFolder
from tuningfork.library.run_records import (
    MOST_FREQUENT_TAG,
    TEXT_PROMPT,
    TUNED_PROMPT,
    BandRecord,
    CandidateRecord,
    PromptRecord,
    RunRecord,
    TuneOptions,
    TuneResult,
)
from tuningfork.models.frozen import FrozenModel
from tuningfork.models.machine import peak_memory_bytes
from tuningfork.models.prefix import PrefixState
from tuningfork.recipes.adapters import adapter_record
from tuningfork.recipes.advice import advise
from tuningfork.recipes.base_model import load_base
from tuningfork.recipes.environment import describe_environment, describe_model, identity_of
from tuningfork.recipes.most_frequent_tag import baseline_prefix, save_baseline
from tuningfork.recipes.preparation import prepare
from tuningfork.recipes.prompt_transfer import prompt_hash, sources_behind
from tuningfork.recipes.proof import (
    Way,
    baseline_ways,
    evaluate_ways,
    prediction_rows,
    verdict_on,
    way_records,
)
from tuningfork.recipes.search import CandidateOutcome, Search, SearchResult
from tuningfork.recipes.search_space import SearchSpace, plan_candidates, search_space
from tuningfork.recipes.seed_ensemble import SeedEnsemble, answers_for_its_best, check_seeds, ensemble_of
from tuningfork.tasks.rendering import RowRenderer
from tuningfork.tasks.tagging import TagRenderer
from tuningfork.tasks.task import Task, task_hash
from tuningfork.tasks.verbalizer import Verbalizer
from tuningfork.training.checkpoint import Checkpoint, Validation
from tuningfork.training.loop import Candidate, TrainingOutcome, Validate, started

_TIE = 1e-5


@dataclass(frozen=True, slots=True)
class _Tuned:
    """What a search has come to, saved before the test split is looked at."""

    ways: list[Way]
    """The tuned prompt, and behind it several seeds together, where that was asked for."""
    answer: str
    """Which of them the run answers with."""
    is_soft: bool
    """Whether it is the first seed, and not the text prompt."""
    seeds: Evaluator
    """Of every seed of the chosen setting."""


def tune(
    task: Task,
    options: TuneOptions,
    *,
    runs_folder: Path = Path("runs"),
    resume: RunFolder | None = None,
    model: FrozenModel | None = None,
    sink: EventSink | None = None,
) -> RunFolder:
    """Tune a prompt for `task` and return the finished run.

    With `resume`, an unfinished run goes on where its last checkpoints stand. Task and options are then those
    of the run, and data, model and settings must be what they were when it began.

    Raises:
        TuningForkError: of the kind that names what is wrong, before anything is trained where possible.
    """
    base = model or load_base(options, None if resume is None else resume.record, sink or NullSink())
    return _Tuning(task, options, base, sink or NullSink()).run(runs_folder, resume)


def plan(
    task: Task, options: TuneOptions, *, model: FrozenModel | None = None, sink: EventSink | None = None
) -> None:
    """Do all of `tune` that comes before training, tell the plan, and write nothing.

    Raises:
        TuningForkError: as `tune` would.
    """
    base = model or load_base(options, None, sink or NullSink())
    _Tuning(task, options, base, sink or NullSink()).plan()


class _Tuning:
    """One call of `tune`."""

    def __init__(self, task: Task, options: TuneOptions, model: FrozenModel, sink: EventSink) -> None:
        self._started = time.perf_counter()
        self._earlier_seconds = 0.0
        self._options = options
        self._sink = sink
        self._model = model
        check_seeds(options)
        self._prepared = prepare(task, self._model, options, sink)
        self._evaluator = self._evaluator_of(self._prepared.renderer)

    def plan(self) -> None:
        """Tell what `run` would do."""
        space = self._search_space()
        self._announce(space, plan_candidates(space), baseline_prefix(self._prepared, self._model))

    def run(self, runs_folder: Path, resume: RunFolder | None) -> RunFolder:
        """Baselines, search, choice, test, result."""
        space = self._search_space()
        candidates = plan_candidates(space)
        self._folder = self._open_folder(runs_folder, resume)
        text_prefix = baseline_prefix(self._prepared, self._model)
        gap = self._announce(space, candidates, text_prefix)
        text_validation = self._judge(self._prepared.renderer, self._prepared.validation)(text_prefix)
        ways = baseline_ways(self._prepared, self._model, text_prefix, seed=self._options.seed)
        found, search = self._search(space, candidates)
        if self._is_better_than_text(found.winner, text_validation):
            tuned = self._keep_tuned(found, search, space)
        else:
            tuned = self._keep_text(found, search, space, text_prefix)
        return self._finish([*ways, *tuned.ways], tuned, found, search, text_validation, gap)

    def _evaluator_of(self, renderer: RowRenderer) -> Evaluator:
        return evaluator_for(self._model, self._prepared.task, renderer)

    @property
    def _baseline(self) -> str:
        return MOST_FREQUENT_TAG if self._prepared.task.has_tags else TEXT_PROMPT

    def _prefix_of(self, outcome: TrainingOutcome) -> PrefixState:
        with torch.no_grad():
            return self._model.prefix([outcome.prompt])

    def _open_folder(self, runs_folder: Path, resume: RunFolder | None) -> RunFolder:
        record = self._record()
        if resume is None:
            folder = RunFolder.create(runs_folder, self._prepared.task.name, record, self._prepared.task)
            self._sink.emit(Notice(f"Run       {folder.path}"))
            return folder
        if resume.is_finished:
            raise RunError(f"{resume.path}: this run is finished; see it with: tuningfork show {resume.path}")
        changed = changed_since(resume.record, record)
        if changed:
            raise RunError(
                f"{resume.path}: cannot be resumed, changed since it began: {', '.join(changed)}; "
                "put that back, or start a new run"
            )
        self._sink.emit(Notice(f"Resume    {resume.path}"))
        resume.finish_checkpoints()
        self._earlier_seconds = sum(Checkpoint.load(path).progress.seconds for path in resume.checkpoints)
        return resume

    def _record(self) -> RunRecord:
        return RunRecord(
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            options=self._options,
            model=describe_model(self._model),
            data_hash=self._prepared.data_hash,
            test_hash=self._prepared.test_hash,
            task_hash=task_hash(self._prepared.task),
            start_hash=prompt_hash(self._options.start_from),
            sources=sources_behind(self._options.start_from),
            environment=describe_environment(),
        )

    def _judge(self, renderer: RowRenderer, held_out: Sequence[Example]) -> Validate:
        # Few rows are judged by their log-loss alone, which needs no answers to be generated.
        generates, evaluator = not self._prepared.is_cross_validated, self._evaluator_of(renderer)
        return lambda prefix: evaluator.validate(prefix, held_out, generates=generates)

    def _search_space(self) -> SearchSpace:
        return search_space(self._model, self._prepared, self._options, self._judge)

    def _announce(
        self, space: SearchSpace, candidates: Sequence[Candidate], text_prefix: PrefixState
    ) -> float:
        """Tell the plan and how far the start is from the text prompt; return that gap."""
        first = candidates[0]
        renderer = space.rows[first.placement].arrangement.renderer
        with torch.no_grad():
            generator = torch.Generator().manual_seed(first.arguments.seed)
            rows = space.rows[first.placement].folds[0].rows
            start = first.method.materialize(started(first, self._model, generator, rows))
            start_prefix = self._model.prefix([start])
            tells_labels = start_prefix.head is not None or renderer.fills_masks
            labels = renderer.choices if tells_labels else None
            ours = self._answer_log_probabilities(renderer, start_prefix, labels)
            theirs = self._answer_log_probabilities(self._prepared.renderer, text_prefix, labels)
        gap = (ours - theirs).abs().max().item()
        virtual, words = start.num_virtual_tokens, text_prefix.num_tokens
        if gap < 1e-3 * max(1.0, theirs.abs().max().item()):
            relation = f"step 0 equals the {self._baseline}"
        else:
            relation = f"log-probabilities at step 0 differ from the {self._baseline}'s by up to {gap:.2g}"
        names = ", ".join(dict.fromkeys(_described(candidate) for candidate in candidates))
        self._sink.emit(
            Notice(
                f"Plan      {_counted(len(candidates), 'candidate')} ({names}), up to "
                f"{_counted(self._options.max_steps, 'step')}, "
                f"{_counted(self._options.num_seeds, 'seed')} of the best; "
                f"{virtual} virtual tokens for {words} tokens of text, {relation}"
            )
        )
        return gap

    def _answer_log_probabilities(
        self, renderer: RowRenderer, prefix: PrefixState, labels: Verbalizer | None
    ) -> Tensor:
        """Of each of `labels`, or else of each token to begin with, as the answer to a validation row.

        Where words are tagged, of each tag of each of its words.
        """
        first = self._prepared.validation[0]
        if isinstance(renderer, TagRenderer):
            return tag_log_probabilities(self._model, prefix, renderer, [first], batch_size=1)
        row = renderer.row_ids(first)
        if labels is None:
            return self._model.logits([row], prefix, [[len(row) - 1]]).log_softmax(dim=-1)
        return self._model.score([row], prefix, labels.choice_ids).log_softmax(dim=-1)

    def _search(self, space: SearchSpace, candidates: Sequence[Candidate]) -> tuple[SearchResult, Search]:
        metrics = self._folder.open_metrics(self._checkpointed_step)
        search = Search(space, self._folder, FanOutSink([metrics, self._sink]))
        return search.run(candidates), search

    def _checkpointed_step(self, candidate: str) -> int:
        path = self._folder.checkpoint_path(candidate)
        return Checkpoint.load(path).progress.step if path.exists() else -1

    def _is_better_than_text(self, winner: CandidateOutcome, text_validation: Validation) -> bool:
        """Whether the winner beats the text prompt on held-out rows."""
        to_beat = winner.quality(text_validation)
        # Step 0 is the text prompt but for rounding; equal within that is a tie, and ties go to the words.
        to_beat += _TIE * max(1.0, abs(to_beat))
        if winner.quality(winner.best) <= to_beat:
            self._sink.emit(
                Notice(
                    f"Choice    nothing tuned beats the {self._baseline} on validation: the {self._baseline} "
                    "is kept"
                )
            )
            return False
        return True

    def _keep_text(
        self, found: SearchResult, search: Search, space: SearchSpace, text_prefix: PrefixState
    ) -> _Tuned:
        """Save the text prompt, or what stands for it, as what was chosen."""
        way = Way(
            name=TUNED_PROMPT,
            evaluate=partial(self._evaluator.evaluate, text_prefix),
            seconds=_seconds(search, found.seeds),
            peak_memory_bytes=peak_memory_bytes(self._model.device),
            trained_parameters=0,
            stored_bytes=save_baseline(self._folder, self._prepared, self._model),
        )
        return _Tuned([way], TUNED_PROMPT, False, self._evaluator_of(_renderer(space, found)))

    def _keep_tuned(self, found: SearchResult, search: Search, space: SearchSpace) -> _Tuned:
        """Save the best seed, or, where they answer together, all of them."""
        chosen, evaluator = found.seeds[0], self._evaluator_of(_renderer(space, found))
        way = Way(
            name=TUNED_PROMPT,
            evaluate=partial(evaluator.evaluate, self._prefix_of(chosen)),
            seconds=_seconds(search, found.seeds),
            peak_memory_bytes=peak_memory_bytes(self._model.device),
            trained_parameters=chosen.num_trained_parameters,
            stored_bytes=0,
        )
        ensemble = None
        if self._options.ensemble:
            ensemble = ensemble_of(
                found, self._model, self._prepared.task, _renderer(space, found), self._sink
            )
        if ensemble is not None and self._answers_together(found, space, ensemble):
            members = [(self._prompt_record(seed, space), seed.prompt) for seed in ensemble.seeds]
            stored = self._folder.save_members(members[0][0], members, ensemble.together.combine)
            answer, single = ensemble.name, stored // len(members)
        else:
            record = self._prompt_record(chosen, space)
            answer, single = TUNED_PROMPT, self._folder.save_prompt(record, chosen.prompt, chosen.parts)
        ways = [replace(way, stored_bytes=single)]
        if ensemble is not None:
            ways.append(
                replace(
                    way,
                    name=ensemble.name,
                    evaluate=ensemble.together.evaluate,
                    trained_parameters=way.trained_parameters * len(ensemble.seeds),
                    stored_bytes=single * len(ensemble.seeds),
                )
            )
        return _Tuned(ways, answer, True, evaluator)

    def _answers_together(self, found: SearchResult, space: SearchSpace, ensemble: SeedEnsemble) -> bool:
        held_out = None
        if space.rows[found.winner.candidate.placement].refit is None:
            held_out = ensemble.together.validate(self._prepared.validation)
        return answers_for_its_best(found, ensemble, held_out, self._sink)

    def _prompt_record(self, chosen: TrainingOutcome, space: SearchSpace) -> PromptRecord:
        candidate = chosen.candidate
        return PromptRecord(
            kind="soft",
            text=self._prepared.renderer.prefix_text,
            method=candidate.method.name,
            learning_rate=candidate.arguments.learning_rate,
            seed=candidate.arguments.seed,
            num_tokens=chosen.prompt.num_virtual_tokens,
            placement=candidate.placement,
            num_placed_tokens=space.rows[candidate.placement].arrangement.num_placed_tokens,
            adapter=adapter_record(candidate),
        )

    def _finish(
        self,
        ways: Sequence[Way],
        tuned: _Tuned,
        found: SearchResult,
        search: Search,
        text_validation: Validation,
        gap: float,
    ) -> RunFolder:
        """Read the test split, once, with every way of prompting."""
        prepared, metric, seed = self._prepared, self._evaluator.metric, self._options.seed
        task = prepared.task
        reads = self._folder.count_test_read(prepared.test_hash)
        self._sink.emit(StageStarted("test", len(ways) + len(found.seeds) - tuned.is_soft, "prompts"))
        started = time.perf_counter()
        evaluations = evaluate_ways(ways, prepared.test)
        known = [evaluations[TUNED_PROMPT].mean_score] if tuned.is_soft else []
        band = self._band(found.seeds, tuned.seeds, known)
        self._sink.emit(StageFinished("test", time.perf_counter() - started))
        self._folder.save_predictions(prediction_rows(prepared.test, evaluations))
        self._folder.save_result(
            TuneResult(
                metric=metric.name,
                digits=metric.digits,
                higher_is_better=metric.higher_is_better,
                num_train=len(prepared.rows if prepared.is_cross_validated else prepared.folds[0].train),
                num_validation=0 if prepared.is_cross_validated else len(prepared.validation),
                num_folds=len(prepared.folds),
                num_test=len(prepared.test),
                ways=way_records(ways, evaluations, metric, seed=seed, further=task.further_metrics),
                candidates=tuple(_candidate_records(search, found.seeds)),
                text_validation_log_loss=text_validation.log_loss,
                start_gap=gap,
                advice=tuple(advise(search.outcomes.values(), found.winner, text_validation)),
                verdict=verdict_on(tuned.answer, evaluations, metric, seed=seed, margin=task.margin),
                band=band,
                answer=tuned.answer,
                test_reads=reads,
                base_is_unchanged=self._model.identity(fresh=True) == identity_of(self._folder.record.model),
                seconds=self._earlier_seconds + time.perf_counter() - self._started,
            )
        )
        return self._folder

    def _band(
        self, outcomes: Sequence[TrainingOutcome], evaluator: Evaluator, known: Sequence[float]
    ) -> BandRecord | None:
        """Test scores over the seeds of the chosen setting, the first of them `known`; nothing is chosen."""
        if len(outcomes) < 2:
            return None
        others = [
            evaluator.evaluate(self._prefix_of(outcome), self._prepared.test)
            for outcome in outcomes[len(known) :]
        ]
        scores = [*known, *(evaluation.mean_score for evaluation in others)]
        return BandRecord(
            num_seeds=len(scores), minimum=min(scores), median=float(np.median(scores)), maximum=max(scores)
        )


def _renderer(space: SearchSpace, found: SearchResult) -> RowRenderer:
    """Renders rows as the prompts of the winner's setting need them."""
    return space.rows[found.winner.candidate.placement].arrangement.renderer


def _seconds(search: Search, seeds: Sequence[TrainingOutcome]) -> float:
    """Of all trainings of a search."""
    return sum(record.seconds for record in _candidate_records(search, seeds))


def _described(candidate: Candidate) -> str:
    name = candidate.method.name
    return name if candidate.placement == "front" else f"{name} {candidate.placement}"


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def changed_since(before: RunRecord, now: RunRecord) -> list[str]:
    """What must be as it was for a run to go on, and is not."""
    parts = {
        "the data": before.data_hash == now.data_hash,
        "the test set": before.test_hash == now.test_hash,
        "the task": before.task_hash == now.task_hash,
        "the prompt to start from": before.start_hash == now.start_hash,
        "the options": before.options == now.options,
        "the model's weights": before.model.weights == now.model.weights,
        "the tokenizer": before.model.tokenizer == now.model.tokenizer,
        "the chat template": before.model.chat_template == now.model.chat_template,
        f"the number format ({before.model.dtype} then)": before.model.dtype == now.model.dtype,
        f"the device ({before.model.device} then)": before.model.device == now.model.device,
        f"torch's threads ({before.environment.get('threads')} then)": before.environment.get("threads")
        == now.environment.get("threads"),
    }
    return [part for part, is_same in parts.items() if not is_same]


def _candidate_records(search: Search, seeds: Sequence[TrainingOutcome]) -> list[CandidateRecord]:
    """Everything that was trained: what held-out rows judged, then what was trained on all rows."""
    judged = [
        _candidate_record(
            outcome.candidate,
            num_trainings=len(outcome.trainings),
            steps=outcome.steps,
            best_step=outcome.best_step,
            best=outcome.best,
            seconds=outcome.seconds,
        )
        for outcome in search.outcomes.values()
    ]
    refitted = [
        _candidate_record(
            seed.candidate,
            num_trainings=1,
            steps=seed.progress.step,
            best_step=seed.progress.step,
            best=None,
            seconds=seed.progress.seconds,
        )
        for seed in seeds
        if seed.candidate.name not in search.outcomes
    ]
    return judged + refitted


def _candidate_record(
    candidate: Candidate,
    *,
    num_trainings: int,
    steps: int,
    best_step: int,
    best: Validation | None,
    seconds: float,
) -> CandidateRecord:
    return CandidateRecord(
        name=candidate.name,
        method=candidate.method.name,
        placement=candidate.placement,
        initialization=candidate.initialization,
        adapter=adapter_record(candidate),
        num_virtual_tokens=len(candidate.embeddings),
        learning_rate=candidate.arguments.learning_rate,
        seed=candidate.arguments.seed,
        num_trainings=num_trainings,
        steps=steps,
        best_step=best_step,
        score=None if best is None else best.metric,
        log_loss=None if best is None else best.log_loss,
        seconds=seconds,
    )
