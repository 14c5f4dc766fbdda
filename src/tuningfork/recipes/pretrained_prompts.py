"""Soft prompts that come with a base model: one for each type of task, to start tuning from.

Gu et al. 2022, "PPT: Pre-trained Prompt Tuning for Few-shot Learning", arXiv 2109.04332. As there, a prompt
is learned once, on many tasks of one format, and is where tuning on few examples starts. Here the model's own
supervised training tasks take the place of self-supervised ones, and the words of the text prompt follow the
pre-trained tokens instead of being replaced by them.
"""

from pathlib import Path

from torch import Tensor

from tuningfork.errors import FormatError
from tuningfork.library.artefact_files import load_artefact
from tuningfork.models.artefacts import InputPrompt
from tuningfork.models.frozen import FrozenModel
from tuningfork.models.loading import model_folder

PROMPTS_FOLDER = "prompts"
"""In the folder of a model; holds `<type of task>.safetensors`."""
WEIGHTS_KEY = "base_weights_sha256"


def pretrained_prompt(model: FrozenModel, task_type: str) -> Tensor | None:
    """Embeddings (P, H) that `model` ships for tasks of this type; None if it ships none.

    Raises:
        FormatError: if the file is damaged, holds no virtual tokens, or was made for other weights.
    """
    folder = model_folder(model.name)
    path = None if folder is None else folder / PROMPTS_FOLDER / f"{task_type}.safetensors"
    if path is None or not path.is_file():
        return None
    return _checked(path, model)


def _checked(path: Path, model: FrozenModel) -> Tensor:
    prompt, metadata = load_artefact(path)
    if not isinstance(prompt, InputPrompt) or prompt.embeddings.shape[1] != model.hidden_size:
        raise FormatError(f"{path}: expected virtual tokens of width {model.hidden_size}")
    if metadata.get(WEIGHTS_KEY) != model.identity().weights:
        raise FormatError(
            f"{path}: was made for other weights than those beside it; remove it, or start from text"
        )
    return prompt.embeddings.to(model.device)
