"""What a version of a prompt holds, and where it came from."""

from pathlib import PurePosixPath
from typing import Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, field_validator, model_serializer

from tuningfork.errors import LibraryError
from tuningfork.library.canonical import hash_value
from tuningfork.library.run_records import Record

Kind = Literal["text", "soft", "adapter", "hybrid"]
"""Words; virtual tokens; low-rank weights behind words; both."""


class Contract(Record):
    """What goes in and what comes out: what callers of a prompt rely on."""

    task_type: str
    variables: tuple[str, ...] = ()
    """Names that inputs must have; none where conversations go in."""
    labels: tuple[str, ...] = ()
    """Answers that are possible, where they are listed."""
    output_schema: dict[str, Any] | None = None
    max_new_tokens: int = 64
    template_language: str = "simple"
    """That the words are written in."""
    variable_types: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """What variables may be, where the task says it: type, values, max_length, default."""

    @model_serializer(mode="wrap")
    def _without_later_fields(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # A contract without them is written, and hashed, as it was before there were any.
        written: dict[str, Any] = handler(self)
        if self.template_language == "simple":
            written.pop("template_language", None)
        if not self.variable_types:
            written.pop("variable_types", None)
        return written


class Figure(Record):
    """A measured figure with its interval, for display; gates count rows again."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    num_rows: int | None = None


class ImportOrigin(Record):
    """Where a version was before it came here, and who vouches for that."""

    kind: str
    """`bundle`, `peft`, `mlflow`, `langfuse` or `hub`."""
    place: str
    """The library, by the hash of its first event, or the address of the server."""
    reference: str
    """What it was called there, down to the version or commit."""
    content_hash: str = ""
    """That it had there, where there are such."""
    signer: str = ""
    """Who signed, by the name that their key is trusted under; empty where nobody did."""
    key: str = ""
    """That the signature was verified with; empty where there was none."""
    notes: tuple[str, ...] = ()
    """What was lost or changed on the way, a sentence each."""


class Lineage(Record):
    """Where a version comes from; every entry that is a hash can be followed."""

    origin: str
    """`tune`, `optimize`, `compose`, `import`, `text` or whatever made it."""
    run: str = ""
    """Where the run lay that made it."""
    data_hash: str = ""
    test_hash: str = ""
    task_hash: str = ""
    base_model: str = ""
    base_weights: str = ""
    """SHA-256 of the base's weights; empty for words that no run chose, which stand before any model."""
    base_tokenizer: str = ""
    base_chat_template: str = ""
    code_version: str = ""
    config: dict[str, Any] = Field(default_factory=dict)
    figures: tuple[Figure, ...] = ()
    sources: tuple[str, ...] = ()
    """Content hashes of versions or prompts that it was made of."""
    imported: ImportOrigin | None = None
    """Set on what was not made here; the rest is then what the origin says."""


class Content(Record):
    """What makes a version the one it is: its words, its files by hash, its contract."""

    kind: Kind
    text: str
    """The text prompt, or that which tuning started from."""
    contract: Contract
    files: dict[str, str] = Field(default_factory=dict)
    """Path in the folder of the version: SHA-256 of the file."""

    @field_validator("files")
    @classmethod
    def _stay_inside(cls, files: dict[str, str]) -> dict[str, str]:
        for path in files:
            check_path(path)
        return files

    @property
    def hash(self) -> str:
        """Equal for equal contents, wherever they lie and whoever made them."""
        return hash_value(self.model_dump(mode="json"))


class VersionRecord(Record):
    """A version as the library holds it."""

    prompt: str
    number: int
    content: Content
    content_hash: str
    lineage: Lineage
    note: str
    parent: int | None
    author: str
    created: str
    revoked: str | None = None
    aliases: tuple[str, ...] = ()
    """Names that point to it now."""

    @property
    def reference(self) -> str:
        """How it is named for good."""
        return f"{self.prompt}@{self.number}"


class PromptSummary(Record):
    """A prompt in a list."""

    name: str
    description: str
    owner: str
    created: str
    last_number: int
    kind: Kind
    """Of the newest version."""
    aliases: dict[str, int]
    tags: tuple[str, ...] = ()


class SearchPage(Record):
    """Prompts that were found, the best first."""

    prompts: tuple[PromptSummary, ...]
    next: str | None = None
    """What to go on `after`; None where there are no more."""


class Comment(Record):
    """What somebody said of a prompt or of one version; it never changes."""

    number: int | None
    """Of the version; None is the prompt as a whole."""
    author: str
    text: str
    time: str


class PromptPage(Record):
    """Everything about a prompt that fits on a page."""

    name: str
    description: str
    owner: str
    created: str
    last_number: int
    aliases: dict[str, int]
    tags: tuple[str, ...]
    versions: tuple[VersionRecord, ...]
    """The newest first; perhaps not all."""
    version_tags: dict[int, tuple[str, ...]]
    comments: tuple[Comment, ...]
    """The newest first; perhaps not all."""


def check_path(path: str) -> None:
    """Check that `path` stays inside the folder of a version.

    Raises:
        LibraryError: if it is absolute, climbs out, or is no plain relative path.
    """
    parts = PurePosixPath(path).parts
    if not parts or path != str(PurePosixPath(path)) or path.startswith("/") or ".." in parts or "\\" in path:
        raise LibraryError(f"{path!r:.80}: a file of a version has a plain relative path inside its folder")
