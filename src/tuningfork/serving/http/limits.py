"""How much one request may ask for."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on everything that a client chooses; what is beyond them is refused by name."""

    body_bytes: int = 4 * 2**20
    body_seconds: float = 30.0
    """Within which a whole body must have come in."""
    prompts: int = 128
    """Texts or rows of tokens in one request."""
    choices: int = 16
    """`n`."""
    answers: int = 256
    """Prompts times `n`."""
    messages: int = 1024
    stops: int = 16
    stop_characters: int = 256
    top_log_probabilities: int = 20
    biases: int = 1024
    deadline_seconds: float = 600.0
    """The longest that one answer may take, whatever the client says."""
