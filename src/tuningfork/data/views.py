"""A part of a sequence of examples, kept as positions instead of copies."""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import overload

from tuningfork.data.example import Example


class ExampleView(Sequence[Example]):
    """The examples of `examples` at `positions`, in that order; 8 bytes a row, fetched when asked for."""

    def __init__(self, examples: Sequence[Example], positions: Iterable[int]) -> None:
        if isinstance(examples, ExampleView):
            # A view of a view looks at the examples themselves.
            positions = array("q", map(examples._positions.__getitem__, positions))
            examples = examples._examples
        self._examples: Sequence[Example] = examples
        self._positions: array[int] = array("q", positions)

    def __len__(self) -> int:
        return len(self._positions)

    def __iter__(self) -> Iterator[Example]:
        return (self._examples[position] for position in self._positions)

    @overload
    def __getitem__(self, index: int) -> Example: ...
    @overload
    def __getitem__(self, index: slice) -> "ExampleView": ...
    def __getitem__(self, index: int | slice) -> "Example | ExampleView":
        if isinstance(index, slice):
            return ExampleView(self, range(len(self))[index])
        return self._examples[self._positions[index]]

    def __repr__(self) -> str:
        return f"ExampleView({len(self)} of {len(self._examples)} examples)"
