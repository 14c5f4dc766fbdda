from typing import cast

from tuningfork.events import NullSink
from tuningfork.library.run_records import TuneOptions
from tuningfork.models.frozen import FrozenModel
from tuningfork.recipes.contestants.contestant import Arena, search_setting, seconds_to_best
from tuningfork.recipes.preparation import Prepared
from tuningfork.training.checkpoint import Progress, Validation


def test_reported_seeds_begin_with_that_of_the_options() -> None:
    options = TuneOptions(seed=7, num_seeds=3)
    arena = Arena(cast(FrozenModel, None), cast(Prepared, None), options, NullSink())
    assert list(arena.seeds) == [7, 8, 9]


def test_time_to_the_best_step_is_a_share_of_the_training() -> None:
    assert seconds_to_best(Progress(step=20, seconds=8.0)) == 8.0
    best = Validation(1.0, 0.1, 5)
    assert seconds_to_best(Progress(step=20, seconds=8.0, best_step=5, best=best)) == 2.0
    assert seconds_to_best(Progress()) == 0.0


def test_what_was_cut_short_is_said_where_anything_was() -> None:
    assert search_setting(4, 0) == {"candidates": 4}
    assert search_setting(4, 3) == {"candidates": 4, "cut short by the budget": 3}
