"""Demonstrations drawn at random."""

from typing import ClassVar

from tuningfork.tuning.text.demonstration_sets import race_sets
from tuningfork.tuning.text.trials import Trials


class RandomDemonstrations:
    """Random sets of training rows; the best of many.

    Few-shot prompting is Brown et al. 2020, "Language Models are Few-Shot Learners",
    https://arxiv.org/abs/2005.14165, section 2; trying many random sets is the random search of DSPy, Khattab
    et al. 2023, https://arxiv.org/abs/2310.03714, section 4. Ours races the sets, so that most of them are
    scored on a few rows only, and never scores a set on rows that it shows.
    """

    name: ClassVar[str] = "random_demonstrations"
    needs_proposer: ClassVar[bool] = False
    packages: ClassVar[tuple[str, ...]] = ()

    def search(self, trials: Trials) -> None:
        """Race random sets."""
        race_sets(trials, lambda size: trials.generator.sample(trials.rows.shown, size))
