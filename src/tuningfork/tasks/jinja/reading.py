"""What a Jinja2 template is made of: text, variables as they stand, and what is worked out for each row."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from jinja2 import nodes

from tuningfork.tasks.jinja.budget import Refused
from tuningfork.tasks.jinja.evaluator import KNOWN, Evaluator
from tuningfork.tasks.jinja.grammar import FreeNames, make_environment, read

MOST_SOURCE_CHARACTERS = 200_000
_SILENT = (nodes.Assign, nodes.AssignBlock, nodes.Macro)


@dataclass(frozen=True, slots=True)
class Text:
    """Text that stands as it is."""

    text: str


@dataclass(frozen=True, slots=True)
class Named:
    """A variable whose text stands as it is in the data."""

    name: str


@dataclass(frozen=True, slots=True)
class WorkedOut:
    """A part that writes something else for other values.

    `reads` are the variables that it depends on, as far as it names them; one that `is_silent` only sets what
    later parts read.
    """

    reads: tuple[str, ...]
    is_silent: bool
    first_line: int
    node: Any = field(hash=False, repr=False)


Part = Text | Named | WorkedOut


class Reader:
    """Reads stretches of one template in their order: what one sets, the next ones see."""

    def __init__(self) -> None:
        self._names = FreeNames()
        self._environment = make_environment()
        self._constants = Evaluator({})

    def read(self, source: str, *, first_line: int = 1) -> Iterator[Part]:
        """Yield the parts of `source`, which begins on line `first_line` of the template.

        Raises:
            Refused: It is not Jinja, or has a part that is not available; with the line in the template.
        """
        try:
            for node in read(source, KNOWN, self._environment):
                if isinstance(node, nodes.Output):
                    for part in node.nodes:
                        yield self._part(part, first_line)
                else:
                    yield self._part(node, first_line)
        except Refused as error:
            raise Refused(str(error), first_line + (error.line or 1) - 1) from None

    def _part(self, node: nodes.Node, first_line: int) -> Part:
        if isinstance(node, nodes.TemplateData):
            return Text(node.data)
        made = set(self._names.made)
        reads = tuple(self._names.of(node))
        if isinstance(node, nodes.Name) and reads:
            return Named(node.name)
        is_silent = isinstance(node, _SILENT)
        uses_names_of_others = any(name.name in made for name in _names_in(node))
        if reads or is_silent or uses_names_of_others:
            return WorkedOut(reads, is_silent, first_line, node)
        # The same for every row: what a template works out for itself is text of the template.
        return Text("".join(written.text for written in self._constants.write(node)))


def work_out(evaluator: Evaluator, part: WorkedOut) -> list[tuple[str, bool]]:
    """Return what `part` writes: stretches of text, each with whether a value says it.

    Raises:
        Refused: It takes too much, or cannot be done with these values; with the line in the template.
    """
    try:
        return [(written.text, written.is_data) for written in evaluator.write(part.node)]
    except Refused as error:
        raise Refused(str(error), part.first_line + (error.line or 1) - 1) from None


def evaluator_of(texts: Mapping[str, str], values: Mapping[str, Any]) -> Evaluator:
    """Return what fills the parts of one template, in their order."""
    return Evaluator(texts, values)


def _names_in(node: nodes.Node) -> Iterator[nodes.Name]:
    if isinstance(node, nodes.Name):
        yield node
    yield from node.find_all(nodes.Name)
