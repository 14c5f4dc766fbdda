"""Warm-up, a stable phase as long as one likes, and a decay that ships."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Decay:
    """A fall to zero over `steps` optimizer steps, beginning at `start`."""

    start: int
    steps: int

    @property
    def end(self) -> int:
        """The first step that is not trained."""
        return self.start + self.steps


def learning_rate_factor(step: int, warmup_steps: int, decay: Decay | None) -> float:
    """Return what the peak rate is multiplied by at a step counted from 0, in (0, 1].

    Warm-up, stable, decay: Hu et al. 2024, MiniCPM, arXiv 2404.06395, section 4; the fall is 1 - sqrt, which
    Hägele et al. 2024, arXiv 2405.18392, found best.
    """
    factor = min(1.0, (step + 1) / max(1, warmup_steps))
    if decay is not None and step >= decay.start:
        factor *= 1 - math.sqrt(min(1.0, (step - decay.start) / decay.steps))
    return factor
