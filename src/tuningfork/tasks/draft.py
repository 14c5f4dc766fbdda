"""A first draft of a task, from a look at the data; every guess is explained."""

import json
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from tuningfork.data.example import Example
from tuningfork.errors import TaskError
from tuningfork.tasks.schema import Schema, describe_fields, infer_schema
from tuningfork.tasks.task import Task, TaskData, TaskType
from tuningfork.tasks.template import escape

LONGEST_LABEL_CHARACTERS = 60
MOST_LABELS = 200
SHARE_OF_RARE_LABELS = 0.1
BYTES_PER_TOKEN = 2.5
MOST_NEW_TOKENS = 1024


@dataclass(frozen=True, slots=True)
class _Finding:
    """What the targets look like: the type of task and what follows from it."""

    type: TaskType
    metric: str
    reason: str
    metric_reason: str
    labels: dict[str, str] | None = None
    output_schema: Schema | None = None


def draft_task(
    examples: Sequence[Example],
    *,
    name: str,
    data_path: str | Path,
    test_path: str | Path | None = None,
    inputs: Mapping[str, str],
    target: str | None,
    messages: str | None = None,
) -> tuple[Task, list[str]]:
    """Return a task drafted from `examples`, and one sentence for each guess that was made.

    `inputs` maps the prompt's variables to columns, `target` and `messages` are columns. Targets that are all
    JSON objects make an extraction task, few different short targets that repeat a classification task, and
    anything else a generation task.

    Raises:
        TaskError: No example has a target, or labels cannot be told apart.
    """
    targets = [example.targets[0] for example in examples if example.targets]
    if not targets:
        raise TaskError(
            f"{data_path}: no row has a target, so there is nothing to learn; name the target column"
        )
    finding = _look_at(targets)
    answers = list(finding.labels.values()) if finding.labels else targets
    max_new_tokens = _room_for(answers)
    data = TaskData(
        train=str(data_path),
        test=None if test_path is None else str(test_path),
        inputs=dict(inputs),
        target=target,
        messages=messages,
    )
    task = Task(
        name=name,
        type=finding.type,
        data=data,
        prompt=_Prompt(finding, targets, target, examples, tuple(inputs)).text(),
        labels=finding.labels,
        metric=finding.metric,
        max_new_tokens=max_new_tokens,
        output_schema=finding.output_schema,
    )
    return task, _explain(finding, max_new_tokens, max(answers, key=_size))


def _look_at(targets: Sequence[str]) -> _Finding:
    objects = [_json_object(text) for text in targets]
    if all(value is not None for value in objects):
        return _Finding(
            "extraction",
            "field_f1",
            f"all {len(targets)} targets are JSON objects",
            "it counts the fields that are right",
            output_schema=infer_schema(objects),
        )
    counts = Counter(targets)
    if _are_labels(counts):
        return _Finding(
            "classification",
            "accuracy",
            f"the {len(targets)} targets are {len(counts)} different short texts that repeat",
            "it is the share of rows with the right label",
            labels=_words_of(sorted(counts)),
        )
    return _Finding(
        "generation",
        "chrf",
        f"the {len(targets)} targets are {len(counts)} different texts",
        "it measures how much of the characters' sequence agrees with the reference, from 0 to 100",
    )


def _json_object(text: str) -> dict[str, object] | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _are_labels(counts: Counter[str]) -> bool:
    rare = sum(1 for count in counts.values() if count == 1)
    return (
        2 <= len(counts) <= min(MOST_LABELS, counts.total() // 2)
        and rare <= SHARE_OF_RARE_LABELS * counts.total()
        and all(len(label) <= LONGEST_LABEL_CHARACTERS and "\n" not in label for label in counts)
    )


def _words_of(labels: Sequence[str]) -> dict[str, str]:
    readable = {label: _readable(label) for label in labels}
    shared = Counter(readable.values())
    return {label: words if words and shared[words] == 1 else label for label, words in readable.items()}


def _readable(name: str) -> str:
    return " ".join(name.replace("_", " ").split())


def _size(text: str) -> int:
    return len(text.encode())


def _room_for(answers: Sequence[str]) -> int:
    """Return how many tokens the longest answer may take, with some to spare, in steps of 16."""
    longest = max(_size(answer) for answer in answers)
    tokens = math.ceil(longest / BYTES_PER_TOKEN) + 8
    return min(MOST_NEW_TOKENS, 16 * math.ceil(tokens / 16))


def _explain(finding: _Finding, max_new_tokens: int, longest: str) -> list[str]:
    notes = [
        f"Type {finding.type}: {finding.reason}.",
        f"Metric {finding.metric}: {finding.metric_reason}.",
        f"At most {max_new_tokens} new tokens: the longest answer has {len(longest)} characters.",
    ]
    if finding.labels:
        changed = [(label, words) for label, words in finding.labels.items() if label != words]
        if changed:
            label, words = changed[0]
            notes.append(f"Labels are said in plain words: {label!r} as {words!r}.")
        if all(re.fullmatch(r"[\d.+-]+", label) for label in finding.labels):
            notes.append("The labels are numbers: under labels, write in words what each means.")
    if finding.output_schema:
        fields = len(list(describe_fields(finding.output_schema)))
        notes.append(f"Output schema: {fields} fields with the types seen in the targets.")
    notes.append("The prompt is a first draft: say in it what an expert would tell a new colleague.")
    return notes


@dataclass(frozen=True, slots=True)
class _Prompt:
    """The wording of a drafted prompt."""

    finding: _Finding
    targets: Sequence[str]
    target: str | None
    examples: Sequence[Example]
    variables: tuple[str, ...]

    def text(self) -> str:
        instruction = self._instruction()
        if not self.variables:
            return instruction
        blocks = [self._input(variable) for variable in self.variables]
        cue = "JSON" if self.finding.type == "extraction" else _capitalised(self._target_words())
        return f"{instruction}\n\n" + "\n".join([*blocks, f"{cue}:"])

    def _instruction(self) -> str:
        if self.finding.labels:
            return self._classification(list(self.finding.labels.values()))
        if self.finding.output_schema:
            return self._extraction(self.finding.output_schema)
        return self._generation()

    def _classification(self, words: list[str]) -> str:
        opening = f"Read the {self._input_words()} and choose the right {self._target_words()}."
        # A comma inside a label would be read as the end of it.
        if any("," in said for said in words):
            listed = "".join(f"\n- {escape(said)}" for said in words)
        else:
            listed = f" {escape(', '.join(words))}."
        return f"{opening} Answer with exactly one of these, and nothing else:{listed}"

    def _extraction(self, schema: Schema) -> str:
        fields = "".join(f"\n- {escape(field)}" for field in describe_fields(schema))
        return (
            f"Read the {self._input_words()} and find the facts below in it. "
            f"Answer with one JSON object that has these fields, and nothing else:{fields}"
        )

    def _generation(self) -> str:
        opening = (
            f"Write the {self._target_words()} for the {self._input_words()} below."
            if self.variables
            else "You are a helpful assistant. Answer the user's last message."
        )
        return f"{opening} {_style(self.targets)} Write nothing else."

    def _input(self, variable: str) -> str:
        has_lines = any("\n" in example.inputs.get(variable, "") for example in self.examples)
        return f"{_capitalised(_readable(variable))}:" + ("\n" if has_lines else " ") + "{{" + variable + "}}"

    def _input_words(self) -> str:
        words = [_readable(variable) for variable in self.variables]
        if not words:
            return "conversation"
        return words[0] if len(words) == 1 else ", ".join(words[:-1]) + f" and {words[-1]}"

    def _target_words(self) -> str:
        words = escape(_readable(self.target or ""))
        return words or ("label" if self.finding.labels else "answer")


def _style(texts: Sequence[str]) -> str:
    """Return a sentence on how long the texts are and how they are laid out."""
    lengths = sorted(len(text.split()) for text in texts)
    low, high = lengths[len(lengths) // 10], lengths[len(lengths) - 1 - len(lengths) // 10]
    length = f"about {low} words" if low == high else f"{low} to {high} words"
    lines = median(1 + text.strip().count("\n") for text in texts)
    layout = "on one line" if lines < 2 else f"on about {round(lines)} lines"
    is_lower_case = all(text == text.lower() for text in texts) and any(
        text != text.upper() for text in texts
    )
    return f"It usually has {length}, {layout}{', in lower case' if is_lower_case else ''}."


def _capitalised(words: str) -> str:
    return words[:1].upper() + words[1:]
