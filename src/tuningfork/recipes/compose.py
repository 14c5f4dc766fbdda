"""Finished prompts made into a new one, without training, and the proof of what it is worth."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import torch

from tuningfork.data.hashing import hash_file
from tuningfork.errors import ModelError, PromptError, RunError
from tuningfork.evaluation.ensemble import Ensemble, Member
from tuningfork.evaluation.evaluate import Evaluator
from tuningfork.events import EventSink, Notice, NullSink, StageFinished, StageStarted
from tuningfork.library.run_folder import RunFolder, check_absent, count_test_read
from tuningfork.library.run_records import (
    COMPOSED_PROMPT,
    CompositionRecord,
    PartRecord,
    PromptRecord,
    RunRecord,
    TuneOptions,
    TuneResult,
)
from tuningfork.models.artefacts import AdaptedPrompt, PlacedPrompt, SoftPrompt, without_head
from tuningfork.models.composition import average, concatenate
from tuningfork.models.frozen import FrozenModel
from tuningfork.models.loading import load_model
from tuningfork.models.machine import peak_memory_bytes
from tuningfork.recipes.arrangement import arrange, row_format
from tuningfork.recipes.environment import describe_environment, describe_model, identity_of
from tuningfork.recipes.preparation import prepare
from tuningfork.recipes.proof import (
    Way,
    baseline_ways,
    evaluate_ways,
    prediction_rows,
    verdict_on,
    way_records,
)
from tuningfork.recipes.seen_rows import seen_test_rows
from tuningfork.tasks.rendering import RowRenderer
from tuningfork.tasks.task import Task, task_hash
from tuningfork.types import Combine, Composition


@dataclass(frozen=True, slots=True)
class Request:
    """What to make of the prompts of which runs, and for which task."""

    how: Composition
    runs: Sequence[Path]
    task: Task
    weights: Sequence[float] | None = None
    """Shares of an average; None takes equal ones."""
    combine: Combine | None = None
    """How an ensemble answers; None takes `mean` for labels, else `vote`."""
    model: str | None = None
    """Where the base model lies now, if it has moved."""
    device: str = "auto"
    dtype: str | None = None
    """Number format of the base model; None takes that of the first run."""


def compose_runs(request: Request, output: Path, *, sink: EventSink | None = None) -> RunFolder:
    """Make a finished run in `output` of the prompts of finished runs on one base model.

    It can be used like one that was tuned, and holds the same table and verdict: the text prompt of the task
    against what was composed, on the task's test rows, with each part beside it. Nothing is trained, and
    nothing is chosen by what the test rows say.

    Raises:
        RunError: if a run is missing or has no prompt, or there is something at `output`.
        ModelError: if the base model cannot be loaded, or a run is for another one.
        PromptError: if the prompts cannot be composed, or not for this task.
        ContextLengthError: if a row of the task does not fit behind what was composed.
    """
    check_absent(output)
    return _Composing(request, sink or NullSink()).write(output)


def plan_composition(request: Request, *, sink: EventSink | None = None) -> None:
    """Do all of `compose_runs` that comes before the test rows are read, and write nothing.

    Raises:
        TuningForkError: as `compose_runs` would.
    """
    _Composing(request, sink or NullSink())


@dataclass(frozen=True, slots=True)
class _Part:
    """The prompt of a finished run."""

    folder: RunFolder
    record: PromptRecord
    prompt: SoftPrompt


class _Composing:
    """One call of `compose_runs`."""

    def __init__(self, request: Request, sink: EventSink) -> None:
        self._started = time.perf_counter()
        self._request = request
        self._sink = sink
        _check_request(request)
        self._parts = [_part(path) for path in request.runs]
        self._model = _common_base(self._parts, request, sink)
        self._made = self._make()
        self._records = [part.record for part in self._parts] if self._made is None else [self._record()]
        self._options = self._describe_options()
        self._prepared = prepare(request.task, self._model, self._options, sink)
        self._check_seen_rows()
        self._members = [self._member(part.prompt, part.record) for part in self._parts]
        self._way = self._composed_way()
        self._say_plan()

    def write(self, output: Path) -> RunFolder:
        """Read the test split, once, with every way of prompting, and write the run."""
        prepared, task, seed = self._prepared, self._request.task, self._options.seed
        metric = task.scoring
        evaluator = Evaluator(self._model, prepared.task, prepared.renderer)
        text_prefix = self._model.prefix([prepared.renderer.prefix_ids])
        text = evaluator.validate(text_prefix, prepared.validation, generates=not prepared.is_cross_validated)
        ways = baseline_ways(prepared, self._model, text_prefix, seed=seed)
        ways += [*self._part_ways(), self._way]
        output.parent.mkdir(parents=True, exist_ok=True)
        reads = count_test_read(output, prepared.test_hash)
        self._sink.emit(StageStarted("test", len(ways), "prompts"))
        started = time.perf_counter()
        evaluations = evaluate_ways(ways, prepared.test)
        self._sink.emit(StageFinished("test", time.perf_counter() - started))
        record = self._run_record()
        with RunFolder.making(output, record, prepared.task) as folder:
            ways[-1] = replace(self._way, stored_bytes=self._save(folder))
            folder.save_predictions(prediction_rows(prepared.test, evaluations))
            folder.save_result(
                TuneResult(
                    metric=metric.name,
                    digits=metric.digits,
                    higher_is_better=metric.higher_is_better,
                    num_train=len(prepared.rows if prepared.is_cross_validated else prepared.folds[0].train),
                    num_validation=0 if prepared.is_cross_validated else len(prepared.validation),
                    num_folds=len(prepared.folds),
                    num_test=len(prepared.test),
                    ways=way_records(ways, evaluations, metric, seed=seed, further=task.further_metrics),
                    candidates=(),
                    text_validation_log_loss=text.log_loss,
                    start_gap=None,
                    verdict=verdict_on(self._way.name, evaluations, metric, seed=seed, margin=task.margin),
                    band=None,
                    answer=self._way.name,
                    test_reads=reads,
                    base_is_unchanged=self._model.identity(fresh=True) == identity_of(record.model),
                    seconds=time.perf_counter() - self._started,
                )
            )
        return RunFolder.open(output)

    def _make(self) -> SoftPrompt | None:
        """The new prompt; None where several answer together."""
        prompts = [part.prompt for part in self._parts]
        match self._request.how:
            case "concatenate":
                return concatenate(self._model, prompts)
            case "average":
                return average(prompts, self._request.weights)
            case "ensemble":
                return None

    def _record(self) -> PromptRecord:
        """What the new prompt is: placed like its parts, if they are."""
        assert self._made is not None
        first = self._parts[0].record
        is_placed = isinstance(self._made, PlacedPrompt)
        if is_placed and any(
            (part.record.placement, part.record.num_placed_tokens)
            != (first.placement, first.num_placed_tokens)
            for part in self._parts
        ):
            found = ", ".join(
                f"{part.record.placement} ({part.record.num_placed_tokens})" for part in self._parts
            )
            raise PromptError(f"virtual tokens of other places cannot be averaged; found {found}")
        methods = {part.record.method for part in self._parts}
        return PromptRecord(
            kind="soft",
            text=RowRenderer(self._request.task, self._model.tokenizer).prefix_text,
            method=methods.pop() if len(methods) == 1 else None,
            num_tokens=self._made.num_virtual_tokens,
            placement=first.placement if is_placed else "front",
            num_placed_tokens=first.num_placed_tokens if is_placed else 0,
        )

    def _describe_options(self) -> TuneOptions:
        """As a run that would tune prompts of this size, so that rows are measured for them."""
        sizes = [_given_size(record) for record in self._records]
        known = [size for size in sizes if size is not None]
        return TuneOptions(
            model=self._model.name,
            device=self._request.device,
            dtype=str(self._model.dtype).removeprefix("torch."),
            placements=tuple(dict.fromkeys(record.placement for record in self._records)),
            num_virtual_tokens=(max(known),) if known else (),
            # Where test rows are held out by a seed, they are those that the parts were not trained on.
            seed=self._parts[0].folder.record.options.seed,
        )

    def _check_seen_rows(self) -> None:
        """Refuse a proof on rows that a part was trained on, and tell where that is not known."""
        test = self._prepared.test
        for part in self._parts:
            seen = seen_test_rows(part.folder, self._model, test)
            if seen is None:
                message = f"{part.folder.path}: not known whether its prompt was trained on test rows"
                self._sink.emit(Notice(f"Unknown   {message}"))
            elif seen:
                raise PromptError(
                    f"{part.folder.path}: its prompt was trained on {seen} of the {len(test)} test rows of "
                    f"task {self._request.task.name}, so they prove nothing; give the task test rows of its "
                    "own, or tune the parts with one --seed, which holds the same rows out"
                )

    @torch.no_grad()
    def _member(self, prompt: SoftPrompt, record: PromptRecord) -> Member:
        """A prompt, read by the model, with rows of the new task as it needs them."""
        task = self._request.task
        arrangement = arrange(
            task,
            self._model.tokenizer,
            record.placement,
            record.num_placed_tokens or None,
            **row_format(self._model),
        )
        if isinstance(prompt, PlacedPrompt) and record.placement != "both":
            words = [token for token in prompt.prefix_ids if token >= 0]
            if words != [token for token in arrangement.renderer.prefix_ids if token >= 0]:
                raise PromptError(
                    f"virtual tokens with placement {record.placement} stand among words of the prompt they "
                    f"were tuned with, which are not those of task {task.name}"
                )
        return Member(self._model.prefix([prompt]), arrangement.renderer)

    def _composed_way(self) -> Way:
        """What was composed, as a way of prompting."""
        if self._made is None:
            evaluate = self._ensemble().evaluate
            name = f"ensemble of {len(self._parts)} prompts"
        else:
            member = self._member(self._made, self._records[0])
            evaluate = partial(self._evaluator(member).evaluate, member.prefix)
            name = COMPOSED_PROMPT
        return Way(name, evaluate, 0.0, peak_memory_bytes(self._model.device), 0, 0)

    def _part_ways(self) -> list[Way]:
        memory = peak_memory_bytes(self._model.device)
        return [
            Way(
                name=f"part {number}: {part.folder.path.resolve().name}",
                evaluate=partial(self._evaluator(member).evaluate, member.prefix),
                seconds=0.0,
                peak_memory_bytes=memory,
                trained_parameters=0,
                stored_bytes=part.folder.prompt_path.stat().st_size,
            )
            for number, (part, member) in enumerate(zip(self._parts, self._members, strict=True), start=1)
        ]

    def _evaluator(self, member: Member) -> Evaluator:
        return Evaluator(self._model, self._request.task, member.renderer)

    def _ensemble(self) -> Ensemble:
        return Ensemble(self._model, self._request.task, self._members, combine=self._request.combine)

    def _say_plan(self) -> None:
        counts = [part.record.num_tokens for part in self._parts]
        made = "" if self._made is None else f", {self._made.num_virtual_tokens} in the new prompt"
        cost = f"; each row runs {len(counts)} times" if self._made is None else ""
        self._sink.emit(
            Notice(
                f"Compose   {self._request.how} {len(counts)} prompts of {', '.join(map(str, counts))} "
                f"virtual tokens{made}{cost}"
            )
        )

    def _run_record(self) -> RunRecord:
        weights: list[float | None] = [None] * len(self._parts)
        if self._request.how == "average":
            given = list(self._request.weights or [1.0] * len(self._parts))
            weights = [weight / sum(given) for weight in given]
        return RunRecord(
            origin="compose",
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            options=self._options,
            model=describe_model(self._model),
            data_hash=self._prepared.data_hash,
            test_hash=self._prepared.test_hash,
            task_hash=task_hash(self._request.task),
            composition=CompositionRecord(
                how=self._request.how,
                parts=tuple(
                    PartRecord(
                        run=str(part.folder.path),
                        sha256=hash_file(part.folder.prompt_path),
                        task_hash=part.folder.record.task_hash,
                        weight=weight,
                    )
                    for part, weight in zip(self._parts, weights, strict=True)
                ),
            ),
            environment=describe_environment(),
        )

    def _save(self, folder: RunFolder) -> int:
        if self._made is not None:
            return folder.save_prompt(self._records[0], self._made)
        members = [(part.record, part.prompt) for part in self._parts]
        text = self._prepared.renderer.prefix_text
        first = self._parts[0].record.model_copy(update={"text": text})
        return folder.save_members(first, members, self._ensemble().combine)


def _check_request(request: Request) -> None:
    if len(request.runs) < 2:
        raise PromptError(f"compose {request.how} takes at least two runs, found {len(request.runs)}")
    if request.task.has_tags:
        raise PromptError(
            f"task {request.task.name}: prompts that tag words have heads, which cannot be composed; "
            "`tuningfork predict --prompts` lets such runs answer together"
        )
    if request.weights is not None and request.how != "average":
        raise PromptError(f"weights are shares of an average; leave them with {request.how}")
    if request.combine is not None and request.how != "ensemble":
        raise PromptError(f"vote and mean are how an ensemble answers; leave them with {request.how}")


def _part(path: Path) -> _Part:
    folder = RunFolder.open(path)
    folder.check_own_task()
    record, prompt = folder.load_prompt()
    if prompt is None:
        raise RunError(f"{path}: this run chose the text prompt, and only soft prompts are composed")
    if record.members:
        raise RunError(
            f"{path}: this run answers with {len(record.members)} prompts together; compose runs of one "
            "prompt each"
        )
    if isinstance(prompt, AdaptedPrompt):
        raise PromptError(
            f"{path}: its prompt has a LoRA adapter, which changes the base for it alone, and cannot be "
            "composed; `tuningfork predict --prompts` lets such runs answer together"
        )
    if without_head(prompt)[1] is not None:
        raise PromptError(
            f"{path}: its prompt has a head, which tells the labels of its own task apart, and cannot be "
            "composed; `tuningfork predict --prompts` lets such runs answer together"
        )
    return _Part(folder, record, prompt)


def _common_base(parts: Sequence[_Part], request: Request, sink: EventSink) -> FrozenModel:
    first = parts[0].folder.record.model
    base = load_model(
        request.model or first.name,
        device=request.device,
        dtype=request.dtype or (first.dtype if request.device == "auto" else "auto"),
        announce=lambda message: sink.emit(Notice(message)),
    )
    for part in parts:
        if changed := identity_of(part.folder.record.model).differences(base.identity()):
            raise ModelError(
                f"{part.folder.path}: its prompt is for another base model than {base.name} (other "
                f"{', '.join(changed)}); prompts are composed on one base"
            )
    return base


def _given_size(record: PromptRecord) -> int | None:
    """What `TuneOptions.num_virtual_tokens` is for such a prompt; None where the template says it."""
    match record.placement:
        case "front":
            return record.num_tokens
        case "both" | "encoder_decoder":
            return record.num_tokens - record.num_placed_tokens
        case "after_bos" | "suffix" | "decoder":
            return record.num_placed_tokens
        case "markers":
            return None
