"""How a soft prompt is trained."""

from dataclasses import dataclass
from typing import Literal, get_args

Schedule = Literal["constant", "linear", "cosine"]


@dataclass(frozen=True, slots=True)
class TrainingArguments:
    """Settings of one training; all counts are in optimizer steps unless they say otherwise."""

    learning_rate: float
    """Peak learning rate of AdamW; above 0."""
    max_steps: int = 100
    """Optimizer steps at most."""
    batch_size: int = 16
    """Rows per optimizer step."""
    micro_batch_size: int = 16
    """Rows per forward; smaller needs less memory and gives the same gradient."""
    schedule: Schedule = "linear"
    """How the learning rate falls after the warm-up; linear and cosine end at 0."""
    warmup_steps: int = 5
    """Steps over which the learning rate rises from 0."""
    weight_decay: float = 0.0
    """AdamW's decoupled weight decay."""
    max_gradient_norm: float = 1.0
    """Gradients are clipped to this norm; 0 turns clipping off."""
    validate_every: int = 10
    """Steps between validations."""
    patience: int = 5
    """Validations in a row without improvement before the training stops; 0 never stops."""
    checkpoint_every: int = 10
    """Steps between checkpoints: what a crash can cost at most."""
    seed: int = 0
    """Order of the rows and everything drawn at random."""

    def __post_init__(self) -> None:
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate must be above 0, found {self.learning_rate}")
        if self.schedule not in get_args(Schedule):
            expected = ", ".join(get_args(Schedule))
            raise ValueError(f"schedule must be one of {expected}, found {self.schedule!r}")
        for field in ("max_steps", "batch_size", "micro_batch_size", "validate_every", "checkpoint_every"):
            if getattr(self, field) < 1:
                raise ValueError(f"{field} must be at least 1, found {getattr(self, field)}")
        for field in ("warmup_steps", "weight_decay", "max_gradient_norm", "patience"):
            if getattr(self, field) < 0:
                raise ValueError(f"{field} must be 0 or more, found {getattr(self, field)}")
