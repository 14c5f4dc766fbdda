"""Examples that a prompt shows, as its task file names them."""

from collections.abc import Collection, Mapping, Sequence

from pydantic import BaseModel, ConfigDict

from tuningfork.errors import TaskError
from tuningfork.tasks.segments import DEMONSTRATIONS, TARGET
from tuningfork.tasks.suggestions import did_you_mean
from tuningfork.tasks.template import PromptTemplate
from tuningfork.tasks.template_reading import variables_in


class ShownExample(BaseModel):
    """One example that the prompt shows."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)

    inputs: dict[str, str]
    """variable of the prompt: its text"""
    target: str
    """the right answer, as the data has it"""


def check_shown(
    template: PromptTemplate,
    shown: Sequence[ShownExample],
    inputs: Collection[str],
    labels: Mapping[str, str] | None,
) -> None:
    """Check the block of demonstrations of `template`, and that the task's own can be shown.

    Raises:
        TaskError: The block reads what no example has, or an example lacks a variable or has another label.
    """
    block = template.demonstrations
    if block is not None:
        if TARGET in inputs:
            raise TaskError(
                f"data.inputs: {{{{#{DEMONSTRATIONS}}}}} calls the answer {TARGET}; name the input otherwise"
            )
        for name in variables_in(block.segments):
            if name not in (*inputs, TARGET):
                hint = did_you_mean(name, [*inputs, TARGET])
                raise TaskError(f"prompt: variable {{{{{name}}}}} of {{{{#{DEMONSTRATIONS}}}}}: {hint}")
    if shown and not inputs:
        raise TaskError("demonstrations: a task on conversations has none")
    for number, example in enumerate(shown, start=1):
        if set(example.inputs) != set(inputs):
            raise TaskError(
                f"demonstrations: number {number} has {', '.join(example.inputs) or 'no inputs'}; expected "
                f"{', '.join(inputs)}"
            )
        if labels is not None and example.target not in labels:
            hint = did_you_mean(example.target, labels)
            raise TaskError(
                f"demonstrations: number {number} has the target {example.target!r:.40}, no label: {hint}"
            )
