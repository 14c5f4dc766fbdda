"""What one contestant of a comparison comes to: made, asked for every test row, timed."""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

import torch

from tuningfork.data.example import Example
from tuningfork.errors import RunError, TuningForkError
from tuningfork.evaluation.comparison import ContestantRecord, CostRecord, SeedRecord
from tuningfork.evaluation.cost import Spent, Use, measure_use
from tuningfork.evaluation.prices import PriceTable
from tuningfork.events import EventSink, FanOutSink, StageAdvanced, StageFinished, StageStarted
from tuningfork.library.comparison_folder import ContestantFolder
from tuningfork.recipes.comparison_record import further_metrics, mean_score, seed_record
from tuningfork.recipes.contestants.contestant import Arena, Contestant, Made
from tuningfork.recipes.spending import Ledger

_TIMED_CALLS = 30
"""Test rows that are answered one by one for the latency of a contestant."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """How contestants are measured, on one set of test rows."""

    arena: Arena
    test: Sequence[Example]
    prices: PriceTable
    quiet: Callable[[], AbstractContextManager[None]]
    """Within what it gives, times of single calls are taken."""

    def of(self, contestant: Contestant, work: ContestantFolder) -> ContestantRecord:
        """What `contestant` comes to; what goes wrong with it alone is written down as that.

        Raises:
            RunError: if its folder cannot be used, so that it could go on later.
        """
        arena, test = self.arena, self.test
        name, family = contestant.name, contestant.family
        reason = contestant.reason_to_leave_out(arena)
        if reason is not None:
            return ContestantRecord(name=name, family=family, status="left out", reason=reason)
        ledger = Ledger(work.path, arena.model.device)
        try:
            with ledger:
                made = contestant.make(replace(arena, sink=FanOutSink([arena.sink, ledger])), work.path)
            seeds = self._answers(made, work, arena.sink)
            with self.quiet():
                use = self._use(made, seeds[0])
            metrics = further_metrics(arena.prepared.task, test, seeds, seed=arena.options.seed)
        except RunError:
            # Of the folder, not of the contestant: a full disk, a damaged file. It can go on later.
            raise
        except TuningForkError as error:
            return ContestantRecord(name=name, family=family, status="failed", reason=str(error))
        except (MemoryError, torch.OutOfMemoryError) as error:
            reason = f"it needs more memory than there is ({_first_line(error)})"
            return ContestantRecord(name=name, family=family, status="failed", reason=reason)
        validation = made.validation
        return ContestantRecord(
            name=name,
            family=family,
            status="measured",
            setting=dict(made.setting),
            validation_score=None if validation is None else validation.metric,
            validation_log_loss=None if validation is None else validation.log_loss,
            seeds=seeds,
            mean=mean_score(seeds),
            covers="method" if len(seeds) > 1 else "artefact",
            metrics=metrics,
            cost=self._cost(made, ledger.spent, use),
        )

    def _answers(self, made: Made, work: ContestantFolder, sink: EventSink) -> tuple[SeedRecord, ...]:
        """What each seed answers on the test rows; asked once, over all sessions."""
        work.answer_as(made.setting)
        sink.emit(StageStarted("test", len(made.answers), "seeds"))
        started, found = time.perf_counter(), []
        for seed, answer in sorted(made.answers.items()):
            answers = work.answers(seed)
            if answers is None:
                answers = seed_record(seed, answer(self.test), self.arena.prepared.task.scoring)
                work.save_answers(answers)
            found.append(answers)
            sink.emit(StageAdvanced("test", len(found)))
        sink.emit(StageFinished("test", time.perf_counter() - started))
        return tuple(found)

    def _use(self, made: Made, first: SeedRecord) -> Use:
        """What single rows take, once the test rows have been answered, as by the first of the seeds."""
        prepared, test = self.arena.prepared, self.test
        renderer, has_tags = prepared.renderer, prepared.task.has_tags
        rows = [test[place] for place in range(min(_TIMED_CALLS, len(test)))]
        said = {id(row): text for row, text in zip(rows, first.predictions, strict=False)}

        def count_tokens(row: Example) -> tuple[int, int]:
            assert made.prompt_tokens is not None
            read = made.prompt_tokens + len(renderer.row_ids(row))
            return read, 0 if has_tags else len(renderer.answer_ids(said[id(row)]))

        return measure_use(
            made.respond or made.answers[first.seed],
            rows,
            count_tokens=None if made.prompt_tokens is None else count_tokens,
            num_calls=len(rows),
            device=self.arena.model.device,
        )

    def _cost(self, made: Made, spent: Spent, use: Use) -> CostRecord:
        is_on_accelerator = made.prompt_tokens is not None and self.arena.model.device.type == "cuda"
        money = self.prices.per_1000_calls(use, model=made.priced_as, on_accelerator=is_on_accelerator)
        return CostRecord(
            seconds=spent.seconds,
            seconds_to_best=made.seconds_to_best,
            processor_seconds=spent.processor_seconds,
            accelerator_seconds=spent.accelerator_seconds,
            energy_joules=spent.energy_joules,
            peak_memory_bytes=spent.peak_memory_bytes,
            has_earlier_peak=spent.has_earlier_peak,
            trained_parameters=made.trained_parameters,
            stored_bytes=made.stored_bytes,
            num_calls=use.num_calls,
            latency_p50_seconds=use.latency_p50_seconds,
            latency_p95_seconds=use.latency_p95_seconds,
            tokens_per_second=use.tokens_per_second,
            input_tokens_per_call=use.input_tokens_per_call,
            output_tokens_per_call=use.output_tokens_per_call,
            money_per_1000_calls=money,
            currency="" if money is None else self.prices.currency,
        )


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
