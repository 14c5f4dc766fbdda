from typing import cast

from tuningfork.events import NullSink
from tuningfork.library.run_records import TuneOptions
from tuningfork.models.frozen import FrozenModel
from tuningfork.recipes.contestants.contestant import Arena
from tuningfork.recipes.preparation import Prepared


def test_reported_seeds_begin_with_that_of_the_options() -> None:
    options = TuneOptions(seed=7, num_seeds=3)
    arena = Arena(cast(FrozenModel, None), cast(Prepared, None), options, NullSink())
    assert list(arena.seeds) == [7, 8, 9]
