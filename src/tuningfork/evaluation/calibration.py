"""How large a calibration error chance alone gives."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tuningfork.tasks.answers import Answers
from tuningfork.tasks.split_metrics import NUM_BINS, SPLIT_METRICS, confidences

_SIMULATIONS = 1999
_NUMBERS_PER_BATCH = 2**21


@dataclass(frozen=True, slots=True)
class EceNull:
    """The expected calibration error that honest probabilities would show on the same rows."""

    expected: float
    p: float
    """How often they would show one as large as was found, or larger."""

    def note(self, digits: int) -> str:
        """What must be known to read an ECE."""
        p = "p < 0.001" if self.p < 0.001 else f"p = {self.p:.3f}"
        return f"perfect calibration would show {self.expected:.{digits}f} on these rows, {p}"


def ece_null(trainings: Sequence[Answers], rng: np.random.Generator) -> EceNull:
    """Return what a perfectly calibrated classifier with the confidences of `trainings` would show.

    Its answers are right with just the probability it gives them; they are drawn 1,999 times: the consistency
    resampling of Bröcker, Smith 2007, "Increasing the Reliability of Reliability Diagrams". An ECE is never
    below 0, so that of few rows is far above it whatever the classifier. Of several trainings it is the mean,
    as that is what is compared, and one draw decides for a row in all of them, as they tend to be wrong on
    the same ones.

    Raises:
        ValueError: If there is no training.
    """
    if not trainings:
        raise ValueError("expected the answers of at least one training, found none")
    observed = float(np.mean([SPLIT_METRICS["ece"].of(answers) for answers in trainings]))
    each = [confidences(answers)[0] for answers in trainings]
    count = len(each[0])
    binned = [
        np.eye(NUM_BINS)[np.minimum((confidence * NUM_BINS).astype(np.intp), NUM_BINS - 1)]
        for confidence in each
    ]
    drawn, step = [], max(1, _NUMBERS_PER_BATCH // count)
    for start in range(0, _SIMULATIONS, step):
        uniform = rng.random((min(step, _SIMULATIONS - start), count))
        found = [
            np.abs((confidence - (uniform < confidence)) @ bins).sum(axis=-1) / count
            for confidence, bins in zip(each, binned, strict=True)
        ]
        drawn.append(np.mean(found, axis=0))
    null = np.concatenate(drawn)
    # Rounding must not decide between equal sums.
    reached = int(np.count_nonzero(null >= observed - 1e-12))
    return EceNull(float(null.mean()), (1 + reached) / (1 + len(null)))
