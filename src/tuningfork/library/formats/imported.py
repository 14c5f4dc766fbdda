"""What reading a prompt made elsewhere gives."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from tuningfork.models.artefacts import SoftPrompt
from tuningfork.models.parts import PromptParts


@dataclass(frozen=True, slots=True, eq=False)
class Imported:
    """A prompt in float32 on the CPU, and where it comes from."""

    prompt: SoftPrompt
    origin: Mapping[str, str] = field(default_factory=dict)
    """`peft_type`, `peft_version`, `base_model_name_or_path`, `base_weights_sha256` and `task_index`, as far
    as they are known."""
    parts: PromptParts | None = None
