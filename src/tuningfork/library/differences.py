"""What two versions of prompts differ in, as records."""

from typing import Any, Literal

from tuningfork.library.contents import Figure, Kind
from tuningfork.library.run_records import Record

Change = Literal["added", "removed", "changed"]


class WordEdit(Record):
    """A passage that both texts have, or one alone."""

    op: Literal["same", "removed", "added"]
    text: str


class ValueChange(Record):
    """A value that differs; `path` names it from the outside in."""

    path: tuple[str, ...]
    change: Change
    before: Any = None
    """None where it was added."""
    after: Any = None
    """None where it was removed."""


class FileChange(Record):
    """A file that one version has and the other lacks, or has with other bytes."""

    path: str
    change: Change
    before: str | None
    """SHA-256; None where the file was added."""
    after: str | None
    before_bytes: int | None
    after_bytes: int | None


class FigureChange(Record):
    """A figure of one name in both lineages, as each run measured it; they may be of different rows."""

    name: str
    before: Figure | None
    after: Figure | None


class NearestToken(Record):
    """The token of the base model's vocabulary that a virtual token points at most nearly."""

    text: str
    """As the tokenizer writes it; not every token is a word."""
    cosine: float


class VectorChange(Record):
    """What became of a vector; lengths are L2 norms."""

    index: int
    """Place of the virtual token, from 0."""
    norm_before: float
    norm_after: float
    cosine: float | None
    """None where one of them is zero."""
    relative_change: float | None
    """Norm of the difference over the norm before; None where that is zero."""
    nearest_before: NearestToken | None = None
    """None where it was not asked for, or the vector is none that stands for a token."""
    nearest_after: NearestToken | None = None


class TokenGroup(Record):
    """Virtual tokens of one place, compared by position: token 3 with token 3."""

    name: str
    """`virtual tokens`, or such as `layer 4 keys`."""
    tokens: tuple[VectorChange, ...]
    """Those that both have."""
    only_before: tuple[float, ...] = ()
    """Norms of tokens behind the last that both have."""
    only_after: tuple[float, ...] = ()
    cosine: float | None
    """Of all that both have, as one vector."""
    relative_change: float | None


class MatrixChange(Record):
    """What became of a matrix, or of a product of two; lengths are Frobenius norms."""

    name: str
    norm_before: float | None
    """None where only the other version has it."""
    norm_after: float | None
    cosine: float | None = None
    relative_change: float | None = None


class ArtefactDiff(Record):
    """What became of the numbers in a file of a version."""

    file: str
    groups: tuple[TokenGroup, ...] = ()
    matrices: tuple[MatrixChange, ...] = ()
    notes: tuple[str, ...] = ()
    """What could not be compared and why, and what to beware of."""


class Flip(Record):
    """A row that one version does better on than the other."""

    row: str
    """Its hash."""
    score_before: float
    score_after: float
    answer_before: str | None
    """None where evidence keeps no answers, since they are private."""
    answer_after: str | None
    is_critical: bool


class MeasuredDifference(Record):
    """The second version minus the first on rows that both were evaluated on."""

    dataset: str
    """Hash of the set of rows."""
    note: str = ""
    """Why it could not be compared; then nothing else is said."""
    metric: str = ""
    num_rows: int = 0
    before: float | None = None
    after: float | None = None
    difference: float | None = None
    low: float | None = None
    """Of the 95 % interval."""
    high: float | None = None
    verdict: str = ""
    better: tuple[Flip, ...] = ()
    """Rows that the second does better on, whichever way the metric points."""
    worse: tuple[Flip, ...] = ()


class VersionDiff(Record):
    """What two versions differ in, the first being `before`."""

    before: str
    """Reference, such as `reply@2`."""
    after: str
    kind_before: Kind
    kind_after: Kind
    same_content: bool
    words: tuple[WordEdit, ...]
    contract: tuple[ValueChange, ...]
    breaks: tuple[str, ...]
    """Why callers of the first would break with the second."""
    lineage: tuple[ValueChange, ...]
    config: tuple[ValueChange, ...]
    files: tuple[FileChange, ...]
    figures: tuple[FigureChange, ...]
    """All of either; equal ones too."""
    artefacts: tuple[ArtefactDiff, ...]
    measured: tuple[MeasuredDifference, ...] = ()
    """By stored evidence of both; empty where no set of rows has that."""

    @property
    def words_differ(self) -> bool:
        """Whether the texts are not the same."""
        return any(edit.op != "same" for edit in self.words)
