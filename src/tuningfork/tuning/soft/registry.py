"""The soft-prompt methods by name."""

from collections.abc import Mapping
from types import MappingProxyType

from tuningfork.tuning.soft.cartridge import Cartridge
from tuningfork.tuning.soft.context_aware_prompt_tuning import ContextAwarePromptTuning
from tuningfork.tuning.soft.defaults import check_method_name
from tuningfork.tuning.soft.dept import DePT
from tuningfork.tuning.soft.idpg import IDPG
from tuningfork.tuning.soft.late_prompt_tuning import LatePromptTuning
from tuningfork.tuning.soft.method import SoftMethod
from tuningfork.tuning.soft.multitask_prompt_tuning import MultitaskPromptTuning
from tuningfork.tuning.soft.p_tuning import PTuning
from tuningfork.tuning.soft.p_tuning_mlp import PTuningMLP
from tuningfork.tuning.soft.p_tuning_v2 import PTuningV2
from tuningfork.tuning.soft.prefix_tuning import PrefixTuning
from tuningfork.tuning.soft.projected_prefix_tuning import ProjectedPrefixTuning
from tuningfork.tuning.soft.prompt_tuning import PromptTuning
from tuningfork.tuning.soft.residual_prompt_tuning import ResidualPromptTuning

SOFT_METHODS: Mapping[str, SoftMethod] = MappingProxyType(
    {
        "prefix_tuning": PrefixTuning(),
        "prompt_tuning": PromptTuning(),
        "residual_prompt_tuning": ResidualPromptTuning(),
        "p_tuning": PTuning(),
        "p_tuning_mlp": PTuningMLP(),
        "p_tuning_v2": PTuningV2(),
        "projected_prefix_tuning": ProjectedPrefixTuning(),
        "cartridge": Cartridge(),
        "context_aware_prompt_tuning": ContextAwarePromptTuning(),
        "idpg": IDPG(),
        "dept": DePT(),
        "multitask_prompt_tuning": MultitaskPromptTuning(),
        "late_prompt_tuning": LatePromptTuning(),
    }
)


def get_soft_method(name: str) -> SoftMethod:
    """The method called `name`.

    Raises:
        PromptError: if there is none; the message lists those there are.
    """
    check_method_name(name)
    return SOFT_METHODS[name]
