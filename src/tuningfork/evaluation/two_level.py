"""Scores of several trainings (or repeats) on the same rows: what they say of a prompt, and of a method.

Rows vary, and so do trainings. An interval that covers "artefact" speaks for the trainings that were
measured, on other rows; one that covers "method" speaks for the next training too, and is never narrower.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tuningfork.evaluation.pivots import (
    AllEqual,
    Hull,
    Interval,
    Pivot,
    Resampled,
    Score,
    Scores,
    Student,
    Unknown,
    equivalence_p,
)
from tuningfork.evaluation.sample_size import SeedSpread, are_equal, needed_rows_or_seeds
from tuningfork.evaluation.statistics import (
    MOST_SCORES_TO_RESAMPLE,
    RESAMPLES,
    SCORES_PER_BATCH,
    Verdict,
    are_pass_fail,
    bca,
    decide,
    difference_pivot,
    largest_difference,
    mean_pivot,
    wilson_pivot,
)
