"""A library of many versions, made in bulk: the rows, events and bytes that registering each would make."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from sqlalchemy import Connection, Table, insert

from tuningfork.library import schema
from tuningfork.library.aliases import MOVED
from tuningfork.library.artefact_files import save_artefact
from tuningfork.library.canonical import canonical_json, hash_bytes, now
from tuningfork.library.chain import FIRST_HASH, event_hash
from tuningfork.library.contents import Content, Contract, Figure, Kind, Lineage
from tuningfork.library.database import writing
from tuningfork.library.naming import folder_of
from tuningfork.library.registration import REGISTERED
from tuningfork.library.store import Library
from tuningfork.library.word_index import index_prompts
from tuningfork.models.artefacts import InputPrompt

VERSIONS_EACH = 10
_WORDS_OF_A_TEXT = 150
_LINES_OF_A_TEXT = 12
_VOCABULARY = 5000
_FOLDERS = 50
_ROWS_AT_ONCE = 2000
_TAGS = ("language:en", "language:de", "checked", "draft", "rare")
_OWNERS = ("ann", "ben", "cem", "dora")
_CONTRACT = Contract(task_type="classification", variables=("text",), labels=("good", "bad"))


def vocabulary() -> list[str]:
    """Made-up words, the more frequent ones first."""
    chance = random.Random(1)
    syllables = [first + second for first in "bdfgklmnprstvz" for second in "aeiou"]
    return ["".join(chance.choices(syllables, k=chance.randint(2, 4))) for _ in range(_VOCABULARY)]


def prompt_name(number: int) -> str:
    """The name of the prompt with this number, from 0."""
    return f"team{number % _FOLDERS:02}/prompt-{number:06}"


def fill(library: Library, num_versions: int) -> int:
    """Fill an empty library with prompts of ten versions each; return the number of prompts."""
    num_prompts = num_versions // VERSIONS_EACH
    filling = _Filling(library)
    for first in range(0, num_prompts, _ROWS_AT_ONCE // VERSIONS_EACH):
        numbers = range(first, min(first + _ROWS_AT_ONCE // VERSIONS_EACH, num_prompts))
        with writing(library.engine) as connection:
            for number in numbers:
                filling.add_prompt(number)
            filling.write(connection)
            index_prompts(connection, [number + 1 for number in numbers])
    if library.engine.dialect.name == "postgresql":
        _set_sequences(library)
    return num_prompts


def _set_sequences(library: Library) -> None:
    """Have the next rows be numbered behind those that were numbered here."""
    with writing(library.engine) as connection:
        for table in (schema.prompt, schema.version, schema.gate_run, schema.tag):
            connection.exec_driver_sql(
                f"SELECT setval(pg_get_serial_sequence('{table.name}', 'id'), "
                f"(SELECT max(id) FROM {table.name}))"
            )


class _SoftPrompts:
    """Files of soft prompts, of 8 tokens 64 wide; only their numbers differ."""

    def __init__(self) -> None:
        self._generator = torch.Generator().manual_seed(0)
        with TemporaryDirectory() as made:
            path = Path(made) / "prompt.safetensors"
            save_artefact(InputPrompt(self._numbers()), path, {})
            content = path.read_bytes()
        self._header = content[: 8 + int.from_bytes(content[:8], "little")]

    def draw(self) -> bytes:
        """A file that no other is equal to."""
        return self._header + self._numbers().numpy().tobytes()

    def _numbers(self) -> torch.Tensor:
        return torch.randn(8, 64, generator=self._generator)


@dataclass(slots=True)
class _Filling:
    library: Library
    soft_prompts: _SoftPrompts = field(default_factory=_SoftPrompts)
    chance: random.Random = field(default_factory=lambda: random.Random(0))
    words: list[str] = field(default_factory=vocabulary)
    rows: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    last_hash: str = FIRST_HASH
    num_events: int = 0
    num_versions: int = 0
    weights: list[float] = field(default_factory=lambda: [1 / rank for rank in range(1, _VOCABULARY + 1)])

    def add_prompt(self, number: int) -> None:
        """A prompt, its versions, each a change of the one before, and its aliases."""
        key, name, owner = number + 1, prompt_name(number), self.chance.choice(_OWNERS)
        text = self.chance.choices(self.words, self.weights, k=_WORDS_OF_A_TEXT)
        kind: Kind = "text" if self.chance.random() < 0.7 else "soft"
        self._add(
            schema.prompt,
            id=key,
            name=name,
            folder=folder_of(name),
            description=" ".join(self.chance.choices(self.words, self.weights, k=8)),
            owner=owner,
            created=now(),
            last_number=VERSIONS_EACH,
            kind=kind,
        )
        for tag in self.chance.sample(_TAGS[:-1], 2) + ["rare"] * (number % 100 == 0):
            self._add(schema.tag, prompt_id=key, number=0, tag=tag)
        for version_number in range(1, VERSIONS_EACH + 1):
            text[self.chance.randrange(len(text))] = self.chance.choice(self.words)
            self._add_version(key, name, version_number, kind, _in_lines(text), owner)
        for alias in ("production", "staging")[: number % 3]:
            self._move(key, name, alias, VERSIONS_EACH - 1)

    def write(self, connection: Connection) -> None:
        """Insert what was added, tables in the order of their references."""
        for table in schema.metadata.sorted_tables:
            if rows := self.rows.pop(table.name, None):
                connection.execute(insert(table), rows)

    def _add(self, table: Table, **values: Any) -> None:
        self.rows.setdefault(table.name, []).append(values)

    def _add_version(self, key: int, name: str, number: int, kind: Kind, text: str, author: str) -> None:
        files = {}
        if kind == "soft":
            content_bytes = self.soft_prompts.draw()
            sha256 = hash_bytes(content_bytes)
            self._write_bytes(sha256, content_bytes)
            files = {"prompt.safetensors": sha256}
            self._add(schema.artifact, sha256=sha256, num_bytes=len(content_bytes), created=now())
        content = Content(kind=kind, text=text, contract=_CONTRACT, files=files)
        lineage = _lineage(self.chance).model_dump(mode="json")
        self.num_versions += 1
        row = {
            "id": self.num_versions,
            "prompt_id": key,
            "number": number,
            "kind": kind,
            "content_hash": content.hash,
            "text": text,
            "contract": content.contract.model_dump(mode="json"),
            "lineage": lineage,
            "note": "",
            "parent_number": number - 1 or None,
            "author": author,
            "created": now(),
        }
        self._add(schema.version, **row)
        for path, sha256 in files.items():
            self._add(schema.version_artifact, version_id=self.num_versions, path=path, sha256=sha256)
        payload: dict[str, Any] = {
            "prompt": name,
            "number": number,
            "content_hash": content.hash,
            "files": files,
            "lineage": lineage,
            "parent": number - 1 or None,
            "note": "",
            "created": row["created"],
        }
        self._tell(REGISTERED, author, key, payload)

    def _move(self, key: int, name: str, alias: str, number: int) -> None:
        self._add(schema.alias, prompt_id=key, name=alias, number=number, generation=1, moved=now())
        version_id = self.num_versions - VERSIONS_EACH + number
        self._add(
            schema.gate_run,
            version_id=version_id,
            alias=alias,
            against_number=None,
            passed=True,
            results=[],
            actor="ann",
            time=now(),
        )
        payload: dict[str, Any] = {
            "prompt": name,
            "alias": alias,
            "before": None,
            "after": number,
            "reason": "",
            "overridden": [],
            "gates": [],
        }
        self._tell(MOVED, "ann", key, payload)

    def _tell(self, kind: str, actor: str, prompt_id: int, payload: dict[str, Any]) -> None:
        self.num_events += 1
        fields: dict[str, Any] = {
            "sequence": self.num_events,
            "time": now(),
            "actor": actor,
            "kind": kind,
            "prompt_id": prompt_id,
            "payload": canonical_json(payload),
            "previous_hash": self.last_hash,
        }
        self.last_hash = fields["hash"] = event_hash(fields)
        self._add(schema.event, **fields)

    def _write_bytes(self, sha256: str, content: bytes) -> None:
        # Not flushed one by one as the store does: only reading and registering are timed.
        path = Path(self.library.artifacts.place) / sha256[:2] / sha256
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def _in_lines(words: Sequence[str]) -> str:
    length = -(-len(words) // _LINES_OF_A_TEXT)
    return "\n".join(" ".join(words[start : start + length]) for start in range(0, len(words), length))


def _lineage(chance: random.Random) -> Lineage:
    """Where a tuned version comes from, in some two kilobytes."""
    figures = tuple(_figures(chance))
    config = {
        f"candidate_{number}": {
            "method": chance.choice(("prompt_tuning", "prefix_tuning", "p_tuning")),
            "learning_rate": chance.random(),
            "steps": chance.randint(10, 500),
            "seed": chance.randint(0, 9),
            "log_loss": chance.random(),
        }
        for number in range(8)
    }
    return Lineage(
        origin="tune",
        run=f"runs/run-{chance.randint(0, 10**6)}",
        data_hash=chance.randbytes(32).hex(),
        test_hash=chance.randbytes(32).hex(),
        task_hash=chance.randbytes(32).hex(),
        base_model="models/base",
        base_weights=chance.randbytes(32).hex(),
        base_tokenizer=chance.randbytes(32).hex(),
        base_chat_template=chance.randbytes(32).hex(),
        code_version="0.1.0",
        config=config,
        figures=figures,
    )


def _figures(chance: random.Random) -> Iterator[Figure]:
    for name in ("accuracy", "macro_f1", "log_loss", "calibration_error", "mcc"):
        value = chance.random()
        yield Figure(name=name, value=value, low=value - 0.05, high=value + 0.05, num_rows=200)
