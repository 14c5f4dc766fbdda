"""Small edits of an instruction, the better one kept."""

from typing import ClassVar

from tuningfork.tuning.text.candidates import TextCandidate
from tuningfork.tuning.text.proposers.request import Request
from tuningfork.tuning.text.trials import Trial, Trials

_BEAM = 3
_EDITS_A_ROUND = 8
_MOST_STALE_ROUNDS = 6


class Edits:
    """Climbs by small edits: delete, swap, reword, add.

    Prasad et al. 2023, "GrIPS: Gradient-free, Edit-based Instruction Search for Prompting Large Language
    Models", https://arxiv.org/abs/2203.07281, section 3, with its beam search. Theirs cuts phrases with a
    constituency parser and rewords them with a paraphrase model; ours cuts at sentences and lines and rewords
    by a table (`proposers/rules.py`), so that no second model is needed, and any proposer may take its place.
    Theirs scores every edit on all rows; ours races them. The demonstrations of the best candidate stay.
    """

    name: ClassVar[str] = "edits"
    needs_proposer: ClassVar[bool] = True
    packages: ClassVar[tuple[str, ...]] = ()

    def search(self, trials: Trials) -> None:
        """Edit the best instructions until no edit is new for several rounds."""
        stale = 0
        while stale < _MOST_STALE_ROUNDS:
            demonstrations = trials.best.candidate.demonstrations
            beam = _beam(trials, demonstrations)
            parent = beam[trials.generator.randrange(len(beam))].candidate
            request = Request("paraphrase", instruction=parent.instruction, labels=trials.labels)
            edited = trials.propose(request, _EDITS_A_ROUND)
            tried = trials.race([TextCandidate(text, demonstrations) for text in edited])
            stale = 0 if tried else stale + 1


def _beam(trials: Trials, demonstrations: tuple[int, ...]) -> list[Trial]:
    """The best that show `demonstrations` and were scored on all rows, best first."""
    same = [t for t in trials.history if t.is_complete and t.candidate.demonstrations == demonstrations]
    return sorted(same, key=lambda trial: -trial.mean)[:_BEAM]
