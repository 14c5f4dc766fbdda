"""Settings that each method is tried with when the user names none.

A soft prompt is sensitive to its learning rate, and the best one differs by method, model and task by more
than an order of magnitude, so no single rate is a default: a few are tried and validation decides.
"""

from collections.abc import Mapping
from difflib import get_close_matches
from types import MappingProxyType
from typing import Literal

from tuningfork.errors import PromptError

LEARNING_RATES: Mapping[str, tuple[float, ...]] = MappingProxyType(
    {
        "prefix_tuning": (0.01, 0.03, 0.1, 0.2),
        "prompt_tuning": (0.03, 0.1),
        "residual_prompt_tuning": (0.003, 0.01, 0.03),
        "p_tuning": (0.001, 0.003, 0.01),
        "p_tuning_mlp": (0.001, 0.003, 0.01),
        "p_tuning_v2": (0.003, 0.01, 0.03),
        "projected_prefix_tuning": (0.001, 0.003, 0.01),
        "cartridge": (0.01, 0.03, 0.1, 0.2),
        "context_aware_prompt_tuning": (0.001, 0.003, 0.01),
        "idpg": (0.003, 0.01),
        "dept": (0.01, 0.03, 0.1),
        "multitask_prompt_tuning": (0.03, 0.1),
        "late_prompt_tuning": (0.03, 0.1, 0.3),
    }
)
"""Learning rates of AdamW to try, by method."""

SEARCHED_METHODS = ("prefix_tuning", "prompt_tuning", "idpg")
"""Methods that are tried when the user names none: one of each kind but "late", as each costs its own
trainings."""

INITIALIZATIONS = ("text", "vocabulary", "labels", "random", "pretrained")
"""Where virtual tokens can start."""

Placement = Literal["front", "after_bos", "suffix", "both", "markers", "decoder", "encoder_decoder"]
"""Where virtual tokens stand: in place of the text prompt; behind BOS and before the text prompt; behind the
words of each row; the first and the third; or where the prompt template has markers. Of encoder-decoder
models: in front of the decoder, with the text prompt as words for the encoder; or there and in place of the
text prompt."""

DECODER_PLACEMENTS: tuple[Placement, ...] = ("decoder", "encoder_decoder")
"""Those that only encoder-decoder models have."""

SEARCHED_PLACEMENTS: tuple[Placement, ...] = ("front", "both")
"""Where virtual tokens are tried when the user names neither methods nor placements."""

TAG_PLACEMENTS: tuple[Placement, ...] = ("front", "after_bos", "markers")
"""Where virtual tokens can stand if the words of a row are tagged: before them."""

NUM_PLACED_TOKENS = 16
"""Virtual tokens that do not take the place of the text prompt, where their number is not given."""

TRANSFERRED_METHOD = "prompt_tuning"
"""Whose prompts other tasks start from best: virtual tokens in front, and nothing else."""

TARGET_METHOD = "multitask_prompt_tuning"
"""What learns best on top of a prompt that several tasks share."""

NUM_VIRTUAL_TOKENS_WITHOUT_TEXT = 20
"""P where there is no text prompt to take it from."""

DEMO_METHODS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"coffee_shop_voice": ("prefix_tuning",), "ticket_routing": ("idpg",)}
)
"""What the demo tries on an example, so that it takes minutes; chosen on held-out training rows."""


def check_method_name(name: str) -> None:
    """Check, without loading any method, that there is one called `name`.

    Raises:
        PromptError: if there is none; the message lists those there are.
    """
    if name in LEARNING_RATES:
        return
    close = get_close_matches(name, LEARNING_RATES, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"expected one of {', '.join(LEARNING_RATES)}"
    raise PromptError(f"unknown soft-prompt method {name!r}: {hint}")
