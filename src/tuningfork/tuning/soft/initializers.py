"""Where a soft prompt starts: (P, H) embeddings from text, vocabulary, labels, noise or pre-training."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import torch
from torch import Tensor

from tuningfork.errors import PromptError
from tuningfork.models.frozen import FrozenModel
from tuningfork.types import TokenIds

_FREQUENT_TOKENS = 5000


@dataclass(frozen=True, slots=True)
class Start:
    """What an initialiser may use."""

    model: FrozenModel
    num_virtual_tokens: int
    text_ids: TokenIds
    """The task's text prompt, BOS and chat header included."""
    label_ids: Sequence[TokenIds]
    """The words of each class label; empty where the task has none."""
    generator: torch.Generator
    pretrained: Tensor | None = None
    """Virtual tokens (P, H) that the model ships for this type of task."""


def from_text(start: Start) -> Tensor:
    """Embeddings (P, H) of the text prompt: verbatim when P is its number of tokens.

    A shorter prompt takes its first P tokens. A longer one repeats the text, without the special tokens that
    open it.

    Raises:
        PromptError: if the text is empty.
    """
    if not start.text_ids:
        raise PromptError("initialisation from text needs a text prompt; the task has none: use vocabulary")
    special = set(start.model.tokenizer.all_special_ids)
    repeated = [token for token in start.text_ids if token not in special] or list(start.text_ids)
    ids = list(start.text_ids)
    while len(ids) < start.num_virtual_tokens:
        ids.extend(repeated)
    return start.model.embed(ids[: start.num_virtual_tokens]).float()


def from_vocabulary(start: Start) -> Tensor:
    """Embeddings (P, H) of tokens drawn from the frequent part of the vocabulary.

    Source: Lester et al. 2021, arXiv 2104.08691, section 2.2, which draws from the 5,000 most common tokens.
    Tokenizers number their entries by how often they were merged, so the lowest ids stand for these; special
    tokens are left out.
    """
    special = set(start.model.tokenizer.all_special_ids)
    known = min(start.model.vocabulary_size, len(start.model.tokenizer))
    frequent = [token for token in range(known) if token not in special][:_FREQUENT_TOKENS]
    order = torch.randperm(len(frequent), generator=start.generator).tolist()
    drawn = [frequent[order[index % len(order)]] for index in range(start.num_virtual_tokens)]
    return start.model.embed(drawn).float()


def from_labels(start: Start) -> Tensor:
    """Embeddings (P, H) of the class labels, then of drawn vocabulary where labels run out.

    Source: Lester et al. 2021, arXiv 2104.08691, section 2.2. As there, a label of several tokens is the mean
    of their embeddings.

    Raises:
        PromptError: if the task has no class labels.
    """
    if not start.label_ids:
        raise PromptError("initialisation from labels needs a classification task; use text or vocabulary")
    labels = torch.stack([start.model.embed(ids).float().mean(dim=0) for ids in start.label_ids])
    drawn = from_vocabulary(start)
    count = min(len(labels), start.num_virtual_tokens)
    return torch.cat([labels[:count], drawn[count:]])


def from_noise(start: Start) -> Tensor:
    """Gaussian embeddings (P, H) with the mean and standard deviation of the model's own, per dimension.

    A standard normal, as some libraries draw, is fifty times larger than the embeddings of most models.
    """
    # Through `embed`, as some models scale their embeddings on the way out of the table.
    table = start.model.embed(range(start.model.vocabulary_size)).float()
    noise = torch.randn(start.num_virtual_tokens, table.shape[1], generator=start.generator)
    return noise.to(table.device) * table.std(dim=0) + table.mean(dim=0)


def from_pretrained(start: Start) -> Tensor:
    """The model's own pre-trained virtual tokens, then the text prompt: (P, H).

    Source: Gu et al. 2022, "PPT: Pre-trained Prompt Tuning for Few-shot Learning", arXiv 2109.04332, whose
    hybrid prompts (section 3) also join learned tokens and words.

    Raises:
        PromptError: if the model ships none for this type of task.
    """
    if start.pretrained is None:
        raise PromptError(
            "initialisation from a pre-trained prompt: the model ships none for this type of task; use text"
        )
    ours = start.pretrained[: start.num_virtual_tokens].float()
    left = start.num_virtual_tokens - len(ours)
    if not left or not start.text_ids:
        return ours
    return torch.cat([ours, from_text(replace(start, num_virtual_tokens=left))])


INITIALIZERS: Mapping[str, Callable[[Start], Tensor]] = MappingProxyType(
    {
        "text": from_text,
        "vocabulary": from_vocabulary,
        "labels": from_labels,
        "random": from_noise,
        "pretrained": from_pretrained,
    }
)


def initial_embeddings(name: str, start: Start) -> Tensor:
    """Embeddings (P, H) in float32 by the initialiser called `name`.

    Raises:
        PromptError: if there is no such initialiser, or it lacks what it needs.
    """
    if name not in INITIALIZERS:
        raise PromptError(f"unknown initialisation {name!r}: expected one of {', '.join(INITIALIZERS)}")
    return INITIALIZERS[name](start)
