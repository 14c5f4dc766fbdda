"""What filling a template may use up.

Steps and characters are counted, not seconds: what is refused on a busy machine is refused on an idle one,
and no template can hide from a clock in one long operation. The limits are chosen so that either is spent in
well under 100 ms.
"""

from collections.abc import Iterable, Mapping, Sequence

MOST_STEPS = 10_000
"""Parts of a template that may be looked at while it is filled once, each as often as it is."""
MOST_CHARACTERS = 1_000_000
"""Characters that operations may read and write, and the template may print, while it is filled once."""
MOST_CALLS = 8
"""Macros that may be inside each other."""
LARGEST_WHOLE_NUMBER = 2**63
_DEEPEST_VALUE = 20


class Refused(Exception):
    """A template asks for more than it may, or for what there is not; the message says what.

    `line` is where in the template, counted from 1, as far as that is known.
    """

    def __init__(self, problem: str, line: int | None = None) -> None:
        super().__init__(problem)
        self.line = line


class Budget:
    """Counts what filling one template uses, and refuses what is too much before it is done."""

    def __init__(self) -> None:
        self._steps = 0
        self._characters = 0
        self._calls = 0

    def step(self, count: int = 1) -> None:
        """Count `count` steps.

        Raises:
            Refused: There are too many.
        """
        self._steps += count
        if self._steps > MOST_STEPS:
            raise Refused(f"takes more than {MOST_STEPS:,} steps to fill; loop over less")

    def characters(self, count: int) -> None:
        """Count `count` characters that are about to be read or written.

        Raises:
            Refused: There are too many.
        """
        self._characters += count
        if self._characters > MOST_CHARACTERS:
            raise Refused(
                f"reads and writes more than {MOST_CHARACTERS:,} characters; make its texts shorter"
            )

    def open_call(self) -> None:
        """Count one more macro inside the others.

        Raises:
            Refused: There are too many.
        """
        self._calls += 1
        if self._calls > MOST_CALLS:
            raise Refused(f"calls macros more than {MOST_CALLS} deep; a macro may not go on calling itself")

    def close_call(self) -> None:
        """Leave the innermost macro."""
        self._calls -= 1

    def search(self, text: str, wanted: str) -> None:
        """Count the characters that a search for `wanted` in `text` may compare.

        Raises:
            Refused: There are too many.
        """
        # Short patterns are searched for without a bound on how often a character is looked at.
        self.characters(len(text) * (1 + min(len(wanted), 100) // 10) + len(wanted))

    def whole(self, value: object) -> None:
        """Count every part of `value`, each as often as it stands in it.

        Raises:
            Refused: There are too many, or they lie too deep.
        """
        waiting: list[tuple[object, int]] = [(value, 0)]
        while waiting:
            part, depth = waiting.pop()
            if depth > _DEEPEST_VALUE:
                raise Refused(f"makes lists that are more than {_DEEPEST_VALUE} deep")
            self.step()
            inner: Iterable[object] = ()
            if isinstance(part, str):
                self.characters(len(part))
            elif isinstance(part, Mapping):
                inner = [*part.keys(), *part.values()]
            elif isinstance(part, Sequence):
                inner = part
            elif part is not None and not isinstance(part, int | float):
                raise Refused("takes a macro for a value; call it")
            waiting += [(one, depth + 1) for one in inner]


def checked_number(value: object) -> int | float:
    """Return `value` if it is a number of a size that is counted with.

    Raises:
        Refused: It is none, or too large.
    """
    if not isinstance(value, int | float):
        raise Refused(f"counts with {type(value).__name__}; expected a number")
    if isinstance(value, int) and abs(value) > LARGEST_WHOLE_NUMBER:
        raise Refused("makes a whole number with more than 64 bits")
    return value
