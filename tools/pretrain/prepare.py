"""From the corpus to packed sequences on disk; a shard depends on the config and the corpus alone."""

import hashlib
import json
import random
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from tools.pretrain import corpus, packing
from tools.pretrain.config import Config, FamilyConfig
from tools.pretrain.corpus import Document, Split
from tools.pretrain.mixture.conversation import Conversation, is_sound
from tools.pretrain.mixture.material import Material, gather
from tools.pretrain.mixture.registry import FAMILIES
from tools.pretrain.overlap import KeptOut, read_kept_out
from tools.pretrain.rendering import Rendered, Renderer
from tuningfork.atomic import write_text
from tuningfork.errors import DataError, RunError

_MOST_FRUITLESS_DRAWS = 1000
_FULL_LENGTH_SHARE = 0.5
"""Of the conversations that are offered a whole sequence; others get a part, so that lengths vary."""


@dataclass
class Tally:
    """What was made and what was dropped."""

    tokens: Counter[str] = field(default_factory=Counter)
    conversations: Counter[str] = field(default_factory=Counter)
    overlapping: Counter[str] = field(default_factory=Counter)
    """Documents by source, and conversations by family, that repeat a row kept out."""


class Preparation:
    """The shards of a config; the corpus is read when the first missing one is made."""

    def __init__(self, config: Config, folder: Path | None = None) -> None:
        self._config = config
        self.folder = folder or config.work / "packed"
        self.renderer = Renderer(config.tokenizer_folder)
        if self.renderer.vocab_size > 1 << 16:
            raise RunError(f"a vocabulary of {self.renderer.vocab_size} does not fit 16 bits")
        self.tally = Tally()
        self._material: dict[Split, Material] = {}

    @cached_property
    def kept_out(self) -> KeptOut:
        """Rows that must not be trained on."""
        return read_kept_out(self._config.kept_out)

    def names(self) -> list[str]:
        """Return the shards of the training split."""
        wanted = self._config.prepare
        total = sum(wanted.lengths.values())
        return [
            f"train-{length}-{index:04d}"
            for length, share in sorted(wanted.lengths.items())
            for index in range(max(1, round(wanted.tokens * share / total / wanted.tokens_per_shard)))
        ]

    def validation_names(self) -> list[str]:
        """Return the validation shards, one a family."""
        shortest = min(self._config.prepare.lengths)
        return [f"validation-{shortest}-{family}" for family in sorted(self._config.prepare.families)]

    def run(self) -> Iterator[str]:
        """Make what is missing; yields a line for each shard.

        Raises:
            RunError: The folder holds shards of another config or corpus.
        """
        self._claim_folder()
        for name in [*self.validation_names(), *self.names()]:
            if packing.tokens_path(self.folder, name).is_file():
                continue
            packed = self._shard(name)
            packing.save(packed, self.folder, name)
            used = float((packed.tokens != self.renderer.padding).mean())
            yield f"{name}: {packed.tokens.shape[0]} sequences, {used:.1%} full"

    def conversations(
        self, split: Split, families: Mapping[str, FamilyConfig], length: int, random_: random.Random
    ) -> Iterator[tuple[str, Rendered]]:
        """Yield conversations without end; the family that is most behind its share comes next."""
        material = self._gathered(split)
        total = sum(family.share for family in families.values())
        made: Counter[str] = Counter()
        while True:
            name = max(
                families,
                key=lambda family: families[family].share / total * (made.total() + 1) - made[family],
            )
            rendered = self._draw(name, families[name], material, length, random_)
            made[name] += len(rendered.ids)
            yield name, rendered

    def _draw(
        self, name: str, family: FamilyConfig, material: Material, length: int, random_: random.Random
    ) -> Rendered:
        for _ in range(_MOST_FRUITLESS_DRAWS):
            is_full = random_.random() < _FULL_LENGTH_SHARE
            budget = length if is_full else random_.randint(length // 5, length)
            conversation = FAMILIES[name](material, random_, budget)
            if conversation is None or not is_sound(conversation):
                continue
            if self.kept_out.overlaps(_text(conversation)):
                self.tally.overlapping[name] += 1
                continue
            rendered = self.renderer.render(conversation, length, family.answer_weight, family.context_weight)
            if rendered is not None:
                return rendered
        raise DataError(
            f"the family {name!r} made nothing in {_MOST_FRUITLESS_DRAWS} draws; is the corpus too small?"
        )

    def _shard(self, name: str) -> packing.Packed:
        split_name, length_text, rest = name.split("-", 2)
        wanted, length = self._config.prepare, int(length_text)
        split: Split = "train" if split_name == "train" else "validation"
        families = wanted.families if split == "train" else {rest: wanted.families[rest]}
        count = wanted.tokens_per_shard // length if split == "train" else wanted.validation_sequences
        # A string as the seed is hashed by Random itself and does not depend on the process.
        random_ = random.Random(f"{wanted.seed} {name}")
        made = self._counted(self.conversations(split, families, length, random_), split)
        sequences = []
        for sequence in packing.pack(made, length, self.renderer.padding):
            sequences.append(sequence)
            if len(sequences) == count:
                break
        return packing.stack(sequences)

    def _counted(self, made: Iterator[tuple[str, Rendered]], split: Split) -> Iterator[Rendered]:
        for name, rendered in made:
            if split == "train":
                self.tally.tokens[name] += len(rendered.ids)
                self.tally.conversations[name] += 1
            yield rendered

    def _gathered(self, split: Split) -> Material:
        if split not in self._material:
            self._material[split] = gather(self._documents(split), self._config.prepare.seed)
        return self._material[split]

    def _documents(self, split: Split) -> Iterator[Document]:
        share = self._config.prepare.validation_share
        for document in corpus.documents(self._config.corpus):
            if corpus.split_of(document, share) != split:
                continue
            if self.kept_out.overlaps(document.text) or self.kept_out.overlaps(document.response):
                self.tally.overlapping[document.source] += 1
                continue
            yield document

    def _claim_folder(self) -> None:
        wanted = self._config.prepare.model_dump(mode="json", exclude={"tokens"})
        made_from = json.dumps(
            {
                "prepare": wanted,
                "kept_out": [corpus.fingerprint(path) for path in self._config.kept_out],
                "corpus": corpus.fingerprint(self._config.corpus),
                "tokenizer": corpus.fingerprint(self._config.tokenizer_folder / "tokenizer.json"),
            },
            sort_keys=True,
        )
        digest = hashlib.sha256(made_from.encode()).hexdigest()
        claim = self.folder / "made_from.json"
        if claim.is_file() and json.loads(claim.read_text(encoding="utf-8"))["digest"] != digest:
            raise RunError(
                f"{self.folder}: holds sequences of another config, corpus or tokenizer; remove it, or name "
                "another folder with `work:`"
            )
        write_text(claim, json.dumps({"digest": digest, "made_from": json.loads(made_from)}, indent=2) + "\n")


def _text(conversation: Conversation) -> str:
    return "\n".join(turn.text for turn in conversation)
