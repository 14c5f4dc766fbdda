"""Settings that each method is tried with when the user names none.

A soft prompt is sensitive to its learning rate, and the best one differs by method, model and task by more
than an order of magnitude, so no single rate is a default: a few are tried and validation decides.
"""

from collections.abc import Mapping
from types import MappingProxyType

LEARNING_RATES: Mapping[str, tuple[float, ...]] = MappingProxyType(
    {
        "prefix_tuning": (0.01, 0.03, 0.1, 0.2),
        "prompt_tuning": (0.03, 0.1),
    }
)
"""Learning rates of AdamW to try, by method."""

NUM_VIRTUAL_TOKENS_WITHOUT_TEXT = 20
"""P where there is no text prompt to take it from."""
