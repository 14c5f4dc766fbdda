"""Instructions from mistakes, kept by a Pareto front."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from tuningfork.tuning.text.candidates import TextCandidate
from tuningfork.tuning.text.proposers.request import Request
from tuningfork.tuning.text.trials import Trials

if TYPE_CHECKING:
    from gepa.core.adapter import EvaluationBatch

_COMPONENT = "instruction"
_MINIBATCH = 4
_MOST_STALE_PROPOSALS = 8


class Reflection:
    """Shows the proposer what went wrong on a few rows, and keeps whatever is best on some row.

    Agrawal et al. 2025, "GEPA: Reflective Prompt Evolution Can Outperform Reinforcement Learning",
    https://arxiv.org/abs/2507.19457, section 3, run by its authors' package: a parent is drawn from the
    Pareto front over rows, its answers to a mini-batch are reflected on, and a child that does better there
    is scored on all rows. Ours scores through the budget, the log and the shared prefix of this search;
    feedback and front are both of training rows; the demonstrations of the best candidate stay; and the
    proposer may be rules, which see the mistakes but do not understand them.
    """

    name: ClassVar[str] = "reflection"
    needs_proposer: ClassVar[bool] = True
    packages: ClassVar[tuple[str, ...]] = ("gepa",)

    def search(self, trials: Trials) -> None:
        """Evolve until nothing new is proposed for a while."""
        from gepa.api import optimize

        best = trials.best.candidate
        rows = trials.rows.unseen(best.demonstrations, trials.rows.scored)
        if not rows:
            return
        adapter = _Adapter(trials, best.demonstrations, len(rows))
        # The package types its adapters by protocols whose parameters it leaves open.
        given: Any = adapter
        optimize(
            seed_candidate={_COMPONENT: best.instruction},
            trainset=rows,
            valset=rows,
            adapter=given,
            reflection_minibatch_size=min(_MINIBATCH, len(rows)),
            skip_perfect_score=False,
            stop_callbacks=lambda _: adapter.num_stale >= _MOST_STALE_PROPOSALS,
            logger=_Silent(),
            seed=trials.generator.getrandbits(32),
            raise_on_exception=True,
        )


class _Silent:
    """Drops what the package would print."""

    def log(self, message: str) -> None:
        """Drop `message`."""


@dataclass
class _Adapter:
    """Lets the package score instructions on rows by their numbers."""

    trials: Trials
    demonstrations: tuple[int, ...]
    num_rows: int
    num_stale: int = 0
    known: set[str] = field(default_factory=set)

    def evaluate(
        self, batch: list[int], candidate: dict[str, str], capture_traces: bool = False
    ) -> "EvaluationBatch[dict[str, str], str]":
        """Score an instruction; on all rows, where it joins the history."""
        from gepa.core.adapter import EvaluationBatch

        trials, own = self.trials, TextCandidate(candidate[_COMPONENT], self.demonstrations)
        scores = trials.measure(own, batch)
        if len(batch) == self.num_rows:
            trials.finish(own)
        traces = [
            {"input": trials.rows.text(row), "answer": score.answer, "right": trials.rows.target(row)}
            for row, score in zip(batch, scores, strict=True)
        ]
        return EvaluationBatch(
            outputs=[score.answer for score in scores],
            scores=[score.value for score in scores],
            trajectories=traces if capture_traces else None,
        )

    def make_reflective_dataset(
        self,
        candidate: dict[str, str],
        eval_batch: "EvaluationBatch[dict[str, str], str]",
        components_to_update: list[str],
    ) -> Mapping[str, Sequence[Mapping[str, Any]]]:
        """What was answered, and what would have been right, worst rows first."""
        traces = eval_batch.trajectories or []
        order = sorted(range(len(traces)), key=lambda place: eval_batch.scores[place])
        return {name: [traces[place] for place in order] for name in components_to_update}

    def propose_new_texts(
        self,
        candidate: dict[str, str],
        reflective_dataset: Mapping[str, Sequence[Mapping[str, Any]]],
        components_to_update: list[str],
    ) -> dict[str, str]:
        """Ask the proposer for a better instruction; the old one where nothing comes."""
        old = candidate[_COMPONENT]
        mistakes = tuple(
            f"to {trace['input']!r} the answer was {trace['answer']!r}, but {trace['right']!r} is right"
            for trace in reflective_dataset[_COMPONENT]
        )
        request = Request("reflect", instruction=old, mistakes=mistakes, labels=self.trials.labels)
        texts = self.trials.propose(request, 1)
        new = texts[0] if texts else old
        is_new = new not in self.known and new != old
        self.known.add(new)
        self.num_stale = 0 if is_new else self.num_stale + 1
        fits = self.trials.has_room(TextCandidate(new, self.demonstrations))
        return {_COMPONENT: new if fits else old}
