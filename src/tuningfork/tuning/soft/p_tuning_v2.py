"""P-tuning v2: keys and values are learned in every layer, and a head that tells labels apart."""

from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from tuningfork.errors import PromptError
from tuningfork.models.artefacts import HeadedPrefix
from tuningfork.models.classification_head import ClassificationHead
from tuningfork.tuning.soft.key_values import learned_key_values, prefix_of
from tuningfork.tuning.soft.method import Beginning, Kind


class PTuningV2:
    """Learns keys and values, each (A, P, D), for every layer, and a head, `weight` (C, H) and `bias` (C,).

    Source: Liu, Ji, Fu, Tam, Du, Yang, Tang 2022, "P-Tuning v2: Prompt Tuning Can Be Comparable to
    Fine-tuning Universally Across Scales and Tasks", arXiv 2110.07602, sections 3.2 and 3.3: prompts in every
    layer, and a linear classification head on a hidden state instead of a verbalizer that the language-model
    head reads. The paper reads the first token of a bidirectional model; here it is the last token before the
    answer, the only one of a causal model that has seen the whole row. The keys and values are learned
    directly and start from those of the text, which the paper draws. It draws the head, too; ours starts at
    zero, so that no draw favours a label, seeds differ in the order of the rows only, and the head's gradient
    is whole from the first step (that of the keys and values from the second).

    So the start does not equal the text prompt, although its keys and values do: all labels are equally
    likely. The head knows labels by their order, so it is only of use with those it was tuned for.
    """

    name: ClassVar[str] = "p_tuning_v2"
    title: ClassVar[str] = "P-tuning v2"
    peft_type: ClassVar[str | None] = None
    kind: ClassVar[Kind] = "headed"
    equals_text_at_start: ClassVar[bool] = False

    def start(self, given: Beginning) -> nn.Module:
        """Two lists of parameters, `keys` and `values`, one (A, P, D) a layer, `weight` and `bias`, float32.

        Raises:
            PromptError: if there are no labels to tell apart, or the model does not keep plain keys and
                values in every layer.
        """
        if given.num_labels is None:
            raise PromptError(
                "p_tuning_v2 tells labels apart and says no words: it needs a classification task and its "
                "labels as what is learned (--objective labels); for anything else use prefix tuning"
            )
        module = learned_key_values(given.model, given.tokens)
        module.weight = nn.Parameter(torch.zeros(given.num_labels, given.model.state_size))
        module.bias = nn.Parameter(torch.zeros(given.num_labels))
        return module

    def materialize(self, module: nn.Module) -> HeadedPrefix:
        """The keys and values as they are, at position 0, and the head."""
        head = ClassificationHead(cast(Tensor, module.weight), cast(Tensor, module.bias))
        return HeadedPrefix(prefix_of(module), head)
