"""Perplexity of the embedded model on text of the validation split that it was not trained on, by source."""

import json
import math
from collections import defaultdict
from pathlib import Path
from typing import TypedDict

import torch

from tools.pretrain.config import PrepareConfig
from tools.pretrain.corpus import Document, documents, split_of
from tools.pretrain.mixture.conversation import Conversation, Turn, assistant, user
from tools.pretrain.rendering import Renderer
from tuningfork.atomic import write_text
from tuningfork.models.frozen import FrozenModel
from tuningfork.models.loading import model_folder
from tuningfork.models.prefix import PrefixState
from tuningfork.training.objectives import row_losses
from tuningfork.types import TrainingRow

DOCUMENTS_A_SOURCE = 60
_LENGTH = 512
_ROWS_A_FORWARD = 8
_SOURCES = (
    ("sgd_", "Schema-Guided Dialogue, tasks"),
    ("sgd", "Schema-Guided Dialogue"),
    ("tm", "Taskmaster 3 and 4"),
    ("osbooks-", "OpenStax textbooks"),
    ("wikitext2", "Wikipedia"),
    ("wiki-sents", "Wikipedia"),
    ("polyai-span", "PolyAI span extraction"),
)
_MULTITASK = "P3 / T0 training mixture"


class Perplexity(TypedDict):
    """Of one source."""

    perplexity: float
    """Of a token: of answers in tasks, of all text elsewhere."""
    documents: int
    tokens: int


def perplexities(model: FrozenModel, corpus: Path) -> dict[str, Perplexity]:
    """Perplexity by source over the first documents of the validation split."""
    folder = model_folder(model.name)
    assert folder is not None, "perplexity needs the tokenizer's folder"
    renderer = Renderer(folder)
    share = PrepareConfig.model_fields["validation_share"].default
    rows: dict[str, list[TrainingRow]] = defaultdict(list)
    for document in documents(corpus):
        source = source_of(document)
        if len(rows[source]) < DOCUMENTS_A_SOURCE and split_of(document, share) == "validation":
            row = _row(renderer, document)
            rows[source] += [row] if row else []
    start = model.prefix([[renderer.end_of_text]])
    return {source: _measured(model, start, found) for source, found in sorted(rows.items()) if found}


def source_of(document: Document) -> str:
    """The name of a document's source, as the model card lists it."""
    return next((name for prefix, name in _SOURCES if document.source.startswith(prefix)), _MULTITASK)


def load(path: Path, weights: str) -> dict[str, Perplexity]:
    """What was measured of the model with these weights; nothing, if another was."""
    if not path.is_file():
        return {}
    stored = json.loads(path.read_text(encoding="utf-8"))
    return dict(stored["sources"]) if stored["model"] == weights else {}


def save(path: Path, weights: str, found: dict[str, Perplexity]) -> None:
    """Keep what was measured."""
    write_text(path, json.dumps({"model": weights, "sources": found}, indent=1) + "\n")


def _row(renderer: Renderer, document: Document) -> TrainingRow | None:
    conversation: Conversation = (Turn("document", document.text),)
    if document.kind == "task":
        conversation = (user(document.text), assistant(document.response))
    rendered = renderer.render(conversation, _LENGTH, 1.0, 0.0)
    if rendered is None:
        return None
    learned = tuple(at for at, weight in enumerate(rendered.weights) if at and weight)
    return TrainingRow(tuple(rendered.ids), learned) if learned else None


@torch.no_grad()
def _measured(model: FrozenModel, start: PrefixState, rows: list[TrainingRow]) -> Perplexity:
    parts = [rows[first : first + _ROWS_A_FORWARD] for first in range(0, len(rows), _ROWS_A_FORWARD)]
    losses = torch.cat([row_losses(model, start, part) for part in parts])
    return Perplexity(
        perplexity=round(math.exp(losses.mean().item()), 2), documents=len(rows), tokens=len(losses)
    )
