"""Prompts as they are served: what the engine runs, and how requests become rows behind it."""

import threading
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from tuningfork.data.hashing import hash_file
from tuningfork.errors import PromptError, ServingError
from tuningfork.library.run_folder import RunFolder
from tuningfork.library.run_records import PromptRecord
from tuningfork.models.artefacts import (
    AdaptedPrompt,
    EncoderDecoderPrompt,
    HeadedPrefix,
    HeadedPrompt,
    PlacedPrompt,
    SoftPrompt,
)
from tuningfork.models.frozen import FrozenModel
from tuningfork.models.identity import BaseIdentity
from tuningfork.serving.requests import LoadedPrompt
from tuningfork.serving.rows import BaseRows, LockedRows, RowMaker, TaskRows, own_tokenizer
from tuningfork.tuning.soft.arrangement import arrange, row_format
from tuningfork.types import TokenIds

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, slots=True, eq=False)
class ServedPrompt:
    """One version of a prompt, or the bare base model, ready to answer."""

    loaded: LoadedPrompt
    reference: str
    """Which version it is, for good: `shop/reply@3`, or the name of a run or of the base model."""
    rows: RowMaker
    num_tokens: int
    """Tokens in front of each row, virtual ones included."""
    max_tokens: int | None = None
    """The longest answer, where a request does not say it; None for the base model."""
    label_ids: Sequence[TokenIds] = ()
    """The tokens of each answer that is possible, its end included; none where answers are free."""
    created: int = 0
    """Seconds since 1970."""

    @property
    def is_base(self) -> bool:
        """Whether nothing stands in front of rows."""
        return self.loaded.soft is None and not self.loaded.text_ids and self.max_tokens is None


class PromptLoader:
    """Makes served prompts for one model.

    Rows are made with a tokenizer of its own, so that whoever turns tokens into text meanwhile is not
    disturbed.
    """

    def __init__(self, model: FrozenModel) -> None:
        self.model = model
        self.tokenizer: PreTrainedTokenizerBase = own_tokenizer(model.tokenizer)
        self._lock = threading.Lock()

    def base(self, name: str) -> ServedPrompt:
        """The base model without a prompt, under `name`."""
        rows = LockedRows(BaseRows(self.tokenizer), self._lock)
        return ServedPrompt(LoadedPrompt(("base",), name), name, rows, num_tokens=0)

    def of_run(
        self, folder: RunFolder, *, name: str, reference: str | None = None, key: Hashable = None
    ) -> ServedPrompt:
        """The prompt of a finished run or of a version that was checked out.

        `name` is what it is called in figures, `reference` which version it is, and `key` its exact content,
        by default the hashes of the prompt's files.

        Raises:
            ServingError: another base model is served, or the prompt does not answer in words.
            RunError: the run has chosen no prompt.
            FormatError: a file of it is damaged.
        """
        if self.model.architecture == "encoder":
            raise ServingError(f"{name}: an encoder writes no text; use predict")
        folder.check_own_task()
        self._check_base(folder, name)
        record, soft = folder.load_prompt()
        task = folder.task
        self._check_answers_in_words(record, soft, name)
        if task.has_tags:
            raise ServingError(f"{name}: tags words, which a server of texts does not do; use predict")
        placed = record.num_placed_tokens or None
        with self._lock:
            renderer = arrange(
                task, self.tokenizer, record.placement, placed, **row_format(self.model)
            ).renderer
        text_ids = () if soft is not None else tuple(renderer.prefix_ids)
        loaded = LoadedPrompt(key or _content_key(folder), name, soft, text_ids)
        return ServedPrompt(
            loaded,
            reference or name,
            LockedRows(TaskRows(task, renderer), self._lock),
            num_tokens=_count_tokens(loaded),
            max_tokens=task.max_new_tokens,
            label_ids=() if renderer.choices is None else renderer.choices.choice_ids,
            created=int(datetime.fromisoformat(folder.record.created).timestamp()),
        )

    def _check_base(self, folder: RunFolder, name: str) -> None:
        """Check that the prompt was made for the model that is served, if it was for one."""
        record = folder.record.model
        if not record.weights:
            # Words that nothing was learned for stand before any model.
            return
        bound = BaseIdentity(record.weights, record.tokenizer, record.chat_template)
        if changed := bound.differences(self.model.identity()):
            raise ServingError(
                f"{name}: was made for another base model than {self.model.name} (other "
                f"{', '.join(changed)}); serve it beside {record.name}"
            )

    def _check_answers_in_words(self, record: PromptRecord, soft: SoftPrompt | None, name: str) -> None:
        bare = soft.prompt if isinstance(soft, AdaptedPrompt) else soft
        if isinstance(bare, EncoderDecoderPrompt):
            bare = bare.decoder
        if isinstance(bare, HeadedPrompt | HeadedPrefix) or record.kind == "tag":
            raise ServingError(f"{name}: tells labels apart by a head and says no words; use predict")
        if record.members:
            raise PromptError(
                f"{name}: {len(record.members)} prompts answer together, which is not served; compose one of "
                "them by averaging, or use predict"
            )


def _content_key(folder: RunFolder) -> Hashable:
    """What two runs with the same prompt have in common, and no other."""
    files = [(name, hash_file(folder.path / name)) for name in folder.prompt_files()]
    # Words lie in the task, and so do the rows' own.
    return ("run", hash_file(folder.path / "task.yaml"), *files)


def _count_tokens(prompt: LoadedPrompt) -> int:
    bare = prompt.soft.prompt if isinstance(prompt.soft, AdaptedPrompt) else prompt.soft
    if bare is None:
        return len(prompt.text_ids)
    # Placed virtual tokens stand among the words in front, or within rows, where they count as theirs.
    return len(bare.prefix_ids) if isinstance(bare, PlacedPrompt) else bare.num_virtual_tokens
