"""What tagging is measured against: each word gets the tag that most words of the training rows have."""

from collections import Counter

import torch

from tuningfork.library.run_folder import RunFolder
from tuningfork.library.run_records import PromptRecord
from tuningfork.models.artefacts import HeadedPrompt, PlacedPrompt
from tuningfork.models.classification_head import ClassificationHead
from tuningfork.models.frozen import FrozenModel
from tuningfork.models.prefix import PrefixState
from tuningfork.recipes.preparation import Prepared
from tuningfork.tasks.tagging import TagRenderer


@torch.no_grad()
def baseline_prefix(prepared: Prepared, model: FrozenModel) -> PrefixState:
    """What a run has to beat, read by the model: the text prompt or, where words are tagged, one tag."""
    if prepared.task.has_tags:
        return model.prefix([most_frequent_tag(prepared, model)])
    return model.prefix([prepared.renderer.prefix_ids])


def most_frequent_tag(prepared: Prepared, model: FrozenModel) -> HeadedPrompt:
    """The text prompt with a head that reads nothing: each tag is as likely as it is frequent.

    Frequencies are those of the words of the training rows, each tag counted once more (Laplace), so that one
    that is missing there is not impossible. So it has a log-loss as any prompt has.
    """
    renderer = prepared.renderer
    assert isinstance(renderer, TagRenderer)
    rows = prepared.rows if prepared.is_cross_validated else prepared.folds[0].train
    counts = Counter(tag for row in rows for tag in renderer.tag_indices(row))
    frequencies = torch.tensor([counts[tag] + 1.0 for tag in range(len(renderer.tags))])
    head = ClassificationHead(
        weight=torch.zeros(len(frequencies), model.state_size), bias=(frequencies / frequencies.sum()).log()
    )
    words = PlacedPrompt(torch.zeros(0, model.hidden_size), tuple(renderer.prefix_ids))
    return HeadedPrompt(words, head)


def save_baseline(folder: RunFolder, prepared: Prepared, model: FrozenModel) -> int:
    """Write the baseline into `folder` as the prompt that was chosen; return its size in bytes."""
    renderer = prepared.renderer
    record = PromptRecord(kind="text", text=renderer.prefix_text, num_tokens=len(renderer.prefix_ids))
    if not prepared.task.has_tags:
        return folder.save_prompt(record, None)
    # Its words hold what opens every text, so rows are to be written without it.
    record = record.model_copy(update={"kind": "tag", "placement": "after_bos"})
    return folder.save_prompt(record, most_frequent_tag(prepared, model))
