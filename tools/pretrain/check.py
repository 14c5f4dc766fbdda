"""Look for rows kept out in what was prepared: the sequences themselves, decoded again."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tools.pretrain.packing import open_shard
from tools.pretrain.prepare import Preparation
from tuningfork.errors import DataError

_CONTROL = re.compile(r"<\|[a-z]+\|>")


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found in one shard."""

    name: str
    num_conversations: int
    num_overlapping: int


def findings(preparation: Preparation) -> Iterator[Finding]:
    """Yield a finding for every shard, validation included.

    Raises:
        DataError: A shard is missing.
    """
    renderer = preparation.renderer
    for name in [*preparation.validation_names(), *preparation.names()]:
        try:
            tokens = open_shard(preparation.folder, name).tokens
        except FileNotFoundError:
            message = f"{preparation.folder}: the shard {name} is missing; run `prepare` first"
            raise DataError(message) from None
        # Every sequence ends with an end mark or with padding, so one array holds them one behind the other.
        flat = tokens.reshape(-1)
        cuts = np.flatnonzero((flat == renderer.end_of_text) | (flat == renderer.padding))
        conversations = [part for part in np.split(flat, cuts) if len(part) > 1]
        overlapping = sum(
            preparation.kept_out.overlaps(_CONTROL.sub("\n", renderer.decode(part.tolist())))
            for part in conversations
        )
        yield Finding(name, len(conversations), overlapping)
