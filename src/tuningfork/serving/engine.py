"""The engine: one thread that owns the model and answers many requests at a time.

Rows join and leave between steps of one token each. New rows are read in pieces, so that a long one keeps no
other waiting. What goes wrong with one request ends that request alone.
"""

import asyncio
import copy
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from torch import Tensor

from tuningfork.errors import ContextLengthError, ServingError, TuningForkError
from tuningfork.events import (
    Event,
    EventSink,
    FirstTokenMade,
    NullSink,
    RequestFinished,
    RequestQueued,
    RowsStepped,
)
from tuningfork.models.frozen import FrozenModel
from tuningfork.serving.job import Job, check_request
from tuningfork.serving.prefixes import KeptPrefixes
from tuningfork.serving.requests import Delta, FinishReason, GenerationRequest, TokenLogProbability
from tuningfork.serving.sampling import Choice, choose, row_log_probabilities
from tuningfork.serving.scheduler import EngineLimits, Scheduler
from tuningfork.serving.stream import AnswerStream, Outbox
from tuningfork.serving.text_stream import Detokenizer
from tuningfork.types import TokenIds

_LOG = logging.getLogger(__name__)

_DEFAULT_LIMITS = EngineLimits()


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """What an engine is doing."""

    num_waiting: int
    num_present: int
    """Requests that are worked on."""
    num_prefixes: int
    """Prompts that were read and are kept."""
    prefix_bytes: int


class ServingEngine:
    """Answers requests to one frozen model, within `async with`."""

    def __init__(
        self,
        model: FrozenModel,
        *,
        limits: EngineLimits = _DEFAULT_LIMITS,
        sink: EventSink | None = None,
        end_ids: frozenset[int] | None = None,
    ) -> None:
        """Serve `model`; `end_ids` end every answer, by default those that the model names.

        Raises:
            PromptError: if the model is an encoder, which continues nothing.
        """
        self._model = model
        self._limits = limits
        self._sink = sink or NullSink()
        self._end_ids = model_end_ids(model) if end_ids is None else end_ids
        # A tokenizer of two threads may be caught by one while the other changes it.
        self._detokenizer = Detokenizer(copy.deepcopy(model.tokenizer))
        self._rows = model.running_rows()
        self._prefixes = KeptPrefixes(model, limits.prefix_bytes)
        self._scheduler = Scheduler[Job](limits, self._rows.bytes_per_token)
        self._reading: list[Job] = []
        self._running: list[Job] = []
        """Those whose rows run, in the order of these rows."""
        self._outbox = Outbox()
        self._wake = threading.Condition()
        self._accepts = False
        self._is_ending = False
        self._thread: threading.Thread | None = None

    async def __aenter__(self) -> "ServingEngine":
        self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def start(self) -> None:
        """Begin to answer."""
        if self._thread is None:
            self._accepts, self._is_ending = True, False
            self._thread = threading.Thread(target=self._run, name="tuningfork-engine", daemon=True)
            self._thread.start()

    async def stop(self, *, drain_seconds: float = 30.0) -> None:
        """Take no more requests, finish what is there for at most `drain_seconds`, and cancel the rest."""
        self._accepts = False
        deadline = time.monotonic() + drain_seconds
        while self._has_work and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
        thread, self._thread = self._thread, None
        if thread is not None:
            with self._wake:
                self._is_ending = True
                self._wake.notify()
            await asyncio.to_thread(thread.join)

    @property
    def status(self) -> EngineStatus:
        """What it is doing now."""
        scheduler, prefixes = self._scheduler, self._prefixes
        return EngineStatus(scheduler.num_waiting, scheduler.num_present, len(prefixes), prefixes.num_bytes)

    def submit(self, request: GenerationRequest) -> AnswerStream:
        """Begin to answer; closing the iterator cancels. Within an event loop.

        Raises:
            QueueFullError: at once, if too many wait already.
            ContextLengthError: at once, if prompt, row and answer cannot fit.
            ServingError: at once, if the engine is not running, or the request cannot be served.
        """
        if not self._accepts:
            raise ServingError("the engine is not running; ask again when it is")
        model = self._model
        check_request(
            request,
            vocabulary_size=model.vocabulary_size,
            maximum_length=model.maximum_length,
            scores_rows=self._rows.scores_rows,
        )
        job = Job(request, self._detokenizer, self._end_ids)
        if not self._scheduler.fits_alone(job):
            raise ContextLengthError(
                f"prompt + input + answer = {job.most_tokens} tokens, for which the engine has no memory; "
                "send less text, or ask for a shorter answer"
            )
        with self._wake:
            self._scheduler.add(job)
            self._tell(RequestQueued(request.id, request.prompt.name, self._scheduler.num_waiting - 1))
            self._wake.notify()
        return AnswerStream(job.mailbox)

    @property
    def _has_work(self) -> bool:
        return bool(self._scheduler.num_waiting or self._scheduler.num_present)

    def _run(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._has_work or self._is_ending)
            if self._is_ending:
                break
            try:
                self._work()
            # Nothing that goes wrong may end the thread that everybody waits for.
            except Exception as error:
                _LOG.exception("the engine failed, and begins anew")
                self._begin_anew(error)
        for job in self._all_jobs():
            self._end_early(job, "cancelled")
        self._leave()
        self._outbox.flush()

    def _all_jobs(self) -> list[Job]:
        return [*self._scheduler.waiting(), *self._reading, *self._running]

    def _work(self) -> None:
        """One step of every row, after some of what new rows need before."""
        for job in self._all_jobs():
            if job.mailbox.is_closed or job.is_late:
                self._end_early(job, "cancelled" if job.mailbox.is_closed else "deadline")
        self._leave()
        with self._wake:
            self._reading += self._scheduler.admit()
        self._read_some()
        self._outbox.flush()
        if self._running:
            self._step()
            self._outbox.flush()

    def _read_some(self) -> None:
        """Read on in new rows; those that fit as a whole are read together."""
        left, whole = self._limits.tokens_read_per_step, list[Job]()
        for place, job in enumerate(self._reading):
            if left <= 0:
                break
            try:
                left -= self._begin(job)
                assert job.reading is not None
                if 0 < len(job.request.ids) <= left and not job.reading.num_read and not job.wants_scores:
                    whole.append(job)
                    left -= len(job.request.ids)
                elif left > 0:
                    # A long row leaves room for those behind it.
                    is_last = place == len(self._reading) - 1
                    left -= self._read(job, left if is_last else max(1, left // 2))
            # Prompts, rows and grammars are the caller's; whatever is wrong with them ends one answer.
            except Exception as error:
                self._end(job, error)
        if whole:
            self._read_whole(whole)
        self._leave()

    def _begin(self, job: Job) -> int:
        """Have the prompt of `job` in front of its row; how many tokens were read for that."""
        if job.reading is not None:
            return 0
        request, is_kept = job.request, job.request.prompt in self._prefixes
        job.admitted = job.seconds
        job.prefix = self._prefixes.take(request.prompt)
        job.num_cached_tokens = job.prefix.num_tokens if is_kept else 0
        job.reading = self._rows.begin(job.prefix, request.ids)
        if job.wants_scores and request.ids:
            logits = self._rows.logits_before(job.reading)
            unknown = TokenLogProbability(request.ids[0], None)
            job.scores = [unknown] if logits is None else self._scored(job, request.ids[:1], logits[None])
        return 0 if is_kept else job.prefix.num_tokens

    def _read(self, job: Job, most_tokens: int) -> int:
        """Read on in the row of `job`, which runs once it is read; how many tokens were read."""
        assert job.reading is not None
        reading, before = job.reading, job.reading.num_read
        if reading.is_read:
            last = self._rows.logits_before(reading)
            assert last is not None
        else:
            logits = self._rows.read(reading, most_tokens, wants_all=job.wants_scores)
            if job.wants_scores:
                self._score(job, before, logits)
            last = logits[-1]
        if reading.is_read:
            self._run_row(job, choose([job.answer.sampler], last[None])[0])
        return reading.num_read - before

    def _read_whole(self, jobs: list[Job]) -> None:
        """Read the rows of `jobs` together or, if that fails, one by one, as the fault may be with one."""
        readings = [job.reading for job in jobs if job.reading is not None]
        try:
            logits = self._rows.read_together(readings)
        except Exception as error:
            _LOG.warning("%d rows could not be read together: %s", len(jobs), _in_words(error))
            for job in jobs:
                self._guarded(job, partial(self._read, job, len(job.request.ids)))
            return
        choices = choose([job.answer.sampler for job in jobs], logits)
        for job, choice in zip(jobs, choices, strict=True):
            self._guarded(job, partial(self._run_row, job, choice))

    def _guarded(self, job: Job, act: Callable[[], object]) -> None:
        """Have what goes wrong with `job` end it alone."""
        try:
            act()
        except Exception as error:
            self._end(job, error)

    def _run_row(self, job: Job, first: Choice | Exception) -> None:
        """Have the row of `job`, which was read, run on behind its `first` token."""
        assert job.reading is not None
        job.answer.begin(job.num_cached_tokens, job.scores)
        if not job.request.sampling.max_tokens:
            self._end(job, job.answer.end("length"))
        elif self._take(job, first):
            self._rows.join(job.reading)
            self._running.append(job)
            job.is_running = True

    def _score(self, job: Job, before: int, logits: Tensor) -> None:
        """Remember what the model thought of the tokens behind those that gave `logits` (n, V)."""
        behind = job.request.ids[before + 1 : before + 1 + len(logits)]
        if behind:
            job.scores += self._scored(job, behind, logits[: len(behind)])

    def _scored(self, job: Job, tokens: TokenIds, logits: Tensor) -> list[TokenLogProbability]:
        return row_log_probabilities(logits, tokens, job.request.sampling.num_top or 0)

    def _step(self) -> None:
        started, running = time.monotonic(), self._running
        tokens = [job.answer.last_token for job in running]
        try:
            logits = self._rows.step([token for token in tokens if token is not None])
        except Exception as error:
            _LOG.exception("a step of %d rows failed", len(running))
            self._begin_anew(error)
            return
        choices = choose([job.answer.sampler for job in running], logits)
        for job, choice in zip(running, choices, strict=True):
            self._take(job, choice)
        self._leave()
        seconds = time.monotonic() - started
        self._tell(RowsStepped(len(running), self._scheduler.num_waiting, seconds))

    def _take(self, job: Job, choice: Choice | Exception) -> bool:
        """Go on with `choice` for `job`; whether it goes on behind it."""
        if isinstance(choice, Exception):
            self._end(job, choice)
            return False
        is_first = not job.answer.num_tokens
        try:
            delta = job.answer.take(choice)
        # As above: a grammar is the caller's.
        except Exception as error:
            self._end(job, error)
            return False
        if is_first:
            self._tell(
                FirstTokenMade(
                    job.request.id,
                    job.request.prompt.name,
                    job.seconds,
                    job.admitted or 0.0,
                    job.num_prompt_tokens,
                    job.num_cached_tokens,
                )
            )
        if delta.finish_reason is not None:
            self._end(job, delta)
            return False
        self._outbox.put(job.mailbox, delta)
        return True

    def _end_early(self, job: Job, reason: FinishReason) -> None:
        self._guarded(job, lambda: self._end(job, job.answer.end(reason)))

    def _end(self, job: Job, last: Delta | Exception) -> None:
        """End `job` with its `last` piece, or with what went wrong; its row leaves at the next `_leave`."""
        if isinstance(last, Exception) and not isinstance(last, TuningForkError):
            last = ServingError(f"request {job.request.id} failed: {_in_words(last)}")
        job.is_over = True
        reason = "error" if isinstance(last, Exception) else str(last.finish_reason)
        self._outbox.put(job.mailbox, last)
        self._scheduler.remove(job, job.seconds if reason in ("stop", "length") else None)
        if job.prefix is not None:
            self._prefixes.release(job.request.prompt)
            job.prefix = job.reading = None
        request = job.request
        self._tell(
            RequestFinished(
                request.id,
                request.prompt.name,
                reason,
                job.num_prompt_tokens,
                job.num_cached_tokens,
                job.answer.num_tokens,
                job.seconds,
            )
        )

    def _leave(self) -> None:
        """Let go of the rows of those that are over."""
        self._reading = [job for job in self._reading if not (job.is_over or job.is_running)]
        if gone := [place for place, job in enumerate(self._running) if job.is_over]:
            self._rows.leave(gone)
            self._running = [job for job in self._running if not job.is_over]

    def _begin_anew(self, error: Exception) -> None:
        """End all that is worked on with `error`, and go on without their rows."""
        for job in [*self._reading, *self._running]:
            if not job.is_over:
                self._end(job, error)
        self._reading, self._running = [], []
        self._rows.clear()
        self._outbox.flush()

    def _tell(self, event: Event) -> None:
        # A listener that fails must not end the thread, nor the answers of those who do not listen.
        try:
            self._sink.emit(event)
        except Exception:
            _LOG.exception("a listener failed")


def model_end_ids(model: FrozenModel) -> frozenset[int]:
    """The tokens that end every text of `model`, as its tokenizer and its settings for generation say."""
    named = [model.tokenizer.eos_token_id]
    settings = getattr(model.network, "generation_config", None)
    ends = getattr(settings, "eos_token_id", None)
    named += ends if isinstance(ends, list) else [ends]
    return frozenset(token for token in named if isinstance(token, int))


def _in_words(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
