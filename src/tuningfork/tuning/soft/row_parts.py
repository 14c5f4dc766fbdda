"""What the rows to train on are made of."""

from collections.abc import Sequence
from itertools import takewhile

from tuningfork.models.instance import answer_start
from tuningfork.types import TokenIds, TrainingRow


def input_of(row: TrainingRow) -> TokenIds:
    """What stands before the last answer of `row`."""
    return row.ids[: answer_start([position - 1 for position in row.label_positions], row.ids)]


def shared_ending(inputs: Sequence[TokenIds]) -> int:
    """How many tokens all inputs end with: a chat header, or whatever else is there."""
    columns = zip(*(reversed(ids) for ids in inputs), strict=False)
    return sum(1 for _ in takewhile(lambda column: len(set(column)) == 1, columns))
