"""Tasks: what goes in, what should come out, how it is asked and how it is scored, as one YAML file."""

import hashlib
import json
import os
import re
from collections.abc import Callable, Hashable
from io import StringIO
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import YAMLError
from ruamel.yaml.scalarstring import LiteralScalarString

from tuningfork.atomic import write_text
from tuningfork.data.example import Example
from tuningfork.errors import TaskError
from tuningfork.tasks.assertions.assertion import inline_files, read_assertions
from tuningfork.tasks.assertions.declaration import Source
from tuningfork.tasks.custom_metrics import is_custom
from tuningfork.tasks.metric_choice import check_metrics
from tuningfork.tasks.metrics import Metric, get_metric
from tuningfork.tasks.partials import inline_partial_files, with_partials
from tuningfork.tasks.rouge import check_rouge
from tuningfork.tasks.shown_examples import ShownExample, check_shown
from tuningfork.tasks.suggestions import did_you_mean
from tuningfork.tasks.tag_labels import TAG_TASK, check_tag_prompt, default_metric, read_tags_as_labels
from tuningfork.tasks.template import PromptTemplate
from tuningfork.tasks.template_reading import TemplateLanguage
from tuningfork.tasks.variables import VariableSpec, check_specs
from tuningfork.tasks.verbalizer import LengthNormalization

TaskType = Literal["classification", "generation", "extraction", "token_classification"]

_ADDRESS = re.compile(r"hf:|[A-Za-z][A-Za-z0-9+.-]+://")
_LONGEST_YAML_LINE = 110
_LATER_FIELDS = ("template_language", "variables", "demonstrations")
"""Tasks without them keep the file and the hash that they had before there were any."""
_MODELS: dict[str, type[BaseModel]] = {"variables": VariableSpec, "demonstrations": ShownExample}


class TaskData(BaseModel):
    """Where the rows lie and which columns hold what."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)

    train: str = Field(min_length=1)
    """rows to learn from; the path is relative to this file"""
    test: str | None = None
    """rows for the verdict; without it a part of train is held out"""
    inputs: dict[str, str] = Field(default_factory=dict)
    """variable of the prompt: column of the data"""
    target: str | None = None
    """column with the right answer"""
    messages: str | None = None
    """column with conversations, in place of inputs"""

    @model_validator(mode="after")
    def _check_columns(self) -> Self:
        if bool(self.inputs) == (self.messages is not None):
            found = "both" if self.inputs else "neither"
            raise TaskError(f"data: give either inputs or messages, found {found}")
        if self.inputs and self.target is None:
            raise TaskError("data.target: name the column with the right answer, found none")
        return self


class Task(BaseModel):
    """One task, as its file declares it. Outer whitespace of the prompt does not count.

    Raises:
        TaskError: Two fields do not fit each other, or the prompt is not a template.
        pydantic.ValidationError: A field is missing, unknown, or of the wrong type; `load_task` turns this
            into a `TaskError`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)

    name: str = Field(min_length=1)
    """what reports and the library call this task"""
    type: TaskType
    """classification, generation, extraction (answers in JSON) or token_classification (a tag a word)"""
    data: TaskData
    """where the rows lie and which columns hold what"""
    prompt: str = Field(min_length=1)
    """the text prompt: instruction first, then {{variable}}s; for conversations the instruction alone"""
    labels: dict[str, str] | None = None
    """label in the data: the words the model should say for it"""
    length_normalization: LengthNormalization = "none"
    """none compares the probabilities of whole labels; mean compares them per token"""
    metric: str
    """accuracy, macro_f1, exact_match, token_f1, field_f1, chrf, ...; of tags entity_f1 or token_accuracy"""
    metrics: list[str] = Field(default_factory=list)
    """further metrics to report; like metric, each may be a function of yours: my_package.scoring:score"""
    margin: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """smallest difference of the metric that matters, in its units; makes "equivalent" a verdict"""
    code: str | None = None
    """folder that functions of yours are imported from, by default that of this file"""
    max_new_tokens: int = Field(default=64, ge=1)
    """longest answer to generate, in tokens"""
    output_schema: dict[str, Any] | None = None
    """JSON Schema that answers should follow"""
    uses_chat_template: bool = True
    """false gives the model plain text, for base models"""
    assertions: list[dict[str, Any]] | None = None
    """what must hold of every answer, as in docs/suites.md"""
    template_language: TemplateLanguage = "simple"
    """simple has {{variable}}s alone; jinja2 also conditions, loops and filters, as in docs/templates.md"""
    variables: dict[str, VariableSpec] = Field(default_factory=dict)
    """variable of the prompt: what it may be; a text if nothing is said"""
    demonstrations: list[ShownExample] = Field(default_factory=list)
    """examples that the prompt shows, with their answers as in the data"""

    @model_validator(mode="before")
    @classmethod
    def _read_partials(cls, given: Any) -> Any:
        return with_partials(given)

    @model_validator(mode="before")
    @classmethod
    def _read_tags(cls, given: Any) -> Any:
        if not isinstance(given, dict) or given.get("type") != TAG_TASK:
            return given
        labels = read_tags_as_labels(given.get("labels"))
        if "metric" not in given and isinstance(labels, dict):
            given = {**given, "metric": default_metric(labels)}
        return {**given, "labels": labels}

    @field_validator("labels", mode="before")
    @classmethod
    def _read_whole_numbers_as_text(cls, labels: object) -> object:
        if not isinstance(labels, dict):
            return labels
        return {_as_text(label): _as_text(words) for label, words in labels.items()}

    @field_validator("prompt")
    @classmethod
    def _strip(cls, prompt: str) -> str:
        return prompt.strip()

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_metrics(self.type, self.metric, self.metrics, self.margin, tags=self.labels)
        check_specs(self.variables, self.data.inputs)
        if self.has_tags:
            check_tag_prompt(self.template, tuple(self.data.inputs))
        self._check_prompt()
        check_shown(self.template, self.demonstrations, self.data.inputs, self.labels)
        self._check_labels()
        self._check_output_schema()
        if self.assertions is not None:
            read_assertions(self.assertions, Source())
        return self

    def _check_prompt(self) -> None:
        if not self.prompt:
            raise TaskError("prompt: the text prompt is empty; write an instruction")
        variables, num_answers = self.template.variables, self.template.num_answers
        if num_answers > 1 or (num_answers and (self.is_conversation or self.type != "classification")):
            raise TaskError(
                f"prompt: {{{{answer}}}} is the place of a label: a classification task on inputs has one at "
                f"most, found {num_answers} in {'a conversation' if self.is_conversation else self.type}"
            )
        if self.has_tags and (self.template_language != "simple" or self.variables):
            raise TaskError("prompt: words to tag stand in a simple template, and are described no further")
        if (self.is_conversation or self.has_tags) and (
            self.template.has_turns or self.template.demonstrations
        ):
            found = "conversations" if self.is_conversation else "words to tag"
            raise TaskError(
                f"prompt: a task on {found} has no {{{{role:...}}}} and no block of demonstrations"
            )
        if self.is_conversation:
            if variables:
                raise TaskError(
                    f"prompt: a task on conversations has no variables, found {{{{{variables[0]}}}}}; "
                    "write the instruction alone"
                )
            return
        if not variables:
            first = next(iter(self.data.inputs))
            raise TaskError(f"prompt: no variable, so the model would not see the input; add {{{{{first}}}}}")
        for name in variables:
            if name not in self.data.inputs:
                hint = did_you_mean(name, self.data.inputs)
                raise TaskError(f"prompt: variable {{{{{name}}}}} is not in data.inputs: {hint}")

    def _check_labels(self) -> None:
        if self.type != "classification":
            if self.labels is not None and not self.has_tags:
                raise TaskError(f"labels: only a classification task has labels, this one is {self.type}")
            return
        if not self.labels or len(self.labels) < 2:
            raise TaskError("labels: a classification task needs at least two labels with their words")
        label_of: dict[str, str] = {}
        for label, words in self.labels.items():
            key = " ".join(words.split())
            if not key:
                raise TaskError(f"labels: label {label!r} has no words to say")
            if key in label_of:
                raise TaskError(
                    f"labels: {label_of[key]!r} and {label!r} both say {words!r}; use different words"
                )
            label_of[key] = label

    def _check_output_schema(self) -> None:
        if self.output_schema is None:
            return
        if self.type != "extraction":
            raise TaskError(f"output_schema: only an extraction task has one, this one is {self.type}")
        if self.output_schema.get("type") != "object":
            found = self.output_schema.get("type")
            raise TaskError(
                f"output_schema: answers are JSON objects, so type must be 'object', found {found!r}"
            )

    @property
    def is_conversation(self) -> bool:
        """Whether rows are conversations rather than inputs for the prompt's variables."""
        return self.data.messages is not None

    @property
    def has_tags(self) -> bool:
        """Whether each word of a row has a tag, rather than the row one answer."""
        return self.type == TAG_TASK

    @property
    def scoring(self) -> Metric:
        """The task's metric; a function of the user's is imported now."""
        return get_metric(self.metric, self.code)

    @property
    def further_metrics(self) -> tuple[Metric, ...]:
        """What is reported beside it; functions of the user's are imported now."""
        return tuple(get_metric(name, self.code) for name in self.metrics)

    @property
    def shown_examples(self) -> tuple[Example, ...]:
        """The examples that the prompt shows."""
        return tuple(
            Example(inputs=shown.inputs, targets=(shown.target,), source=f"demonstration {number}")
            for number, shown in enumerate(self.demonstrations, start=1)
        )

    @property
    def answer_key(self) -> Callable[[str], Hashable]:
        """Equal for answers that count as the same one; imports nothing."""
        return str.strip if is_custom(self.metric) else self.scoring.answer_key

    @property
    def template(self) -> PromptTemplate:
        """The prompt, parsed."""
        try:
            return PromptTemplate(
                self.prompt,
                variables=self.data.inputs,
                language=self.template_language,
                specs=self.variables,
            )
        except TaskError as error:
            raise TaskError(str(error).replace("prompt line", "prompt: line", 1)) from None


def load_task(path: str | Path, *, imports_code: bool = True) -> Task:
    """Return the task in the YAML file `path`, with its paths resolved against the file's folder.

    Metrics that are functions of the user's are imported, so that what is wrong with them is told at once;
    with `imports_code` false, not before they are needed.

    Raises:
        TaskError: The file is missing, is not YAML, a field is wrong, or a metric is code that nobody has
            said to trust; the message names file and field.
        MissingDependencyError: A metric needs a package that is not installed.
    """
    path = Path(path)
    try:
        content = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise TaskError(f"{path}: there is no such task file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise TaskError(f"{path}: cannot be read: {error}") from error
    except YAMLError as error:
        raise TaskError(f"{path}{_yaml_problem(error)}") from error
    if not isinstance(content, dict):
        raise TaskError(
            f"{path}: expected the fields of a task (name, type, data, ...), found {content!r:.60}"
        )
    try:
        if "assertions" in content:
            content = {**content, "assertions": inline_files(content["assertions"], path.parent)}
        content = inline_partial_files(content, path.parent)
        task = Task.model_validate(content)
    except TaskError as error:
        raise TaskError(f"{path}: {error}") from error
    except ValidationError as error:
        raise TaskError(f"{path}: {_first_problem(error)}") from error
    if task.code is None and any(map(is_custom, (task.metric, *task.metrics))):
        task = task.model_copy(update={"code": "."})
    task = _with_paths(task, lambda source: os.path.normpath(path.parent / source))
    if imports_code:
        for name in (task.metric, *task.metrics):
            check_rouge(name)
        try:
            _ = task.scoring, task.further_metrics
        except TaskError as error:
            raise TaskError(f"{path}: {error}") from error
    return task


def save_task(task: Task, path: Path) -> None:
    """Write `task` to `path` as commented YAML, whole or not at all; data paths become relative to it."""
    folder = path.absolute().parent
    relative = _with_paths(task, lambda source: _relative(source, folder))
    text = StringIO()
    yaml = YAML()
    yaml.width = _LONGEST_YAML_LINE
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.dump(_commented(relative), text)
    write_text(path, text.getvalue())


def task_hash(task: Task) -> str:
    """Return a SHA-256 over what a model sees, what scores its answers, and what must hold for them.

    Left out are the name, paths, and what only a report minds: further metrics and the margin.
    """
    left_out = dict.fromkeys(("name", "metrics", "margin", "code"), True)
    content = task.model_dump(mode="json", exclude={**left_out, "data": {"train", "test"}})
    if task.assertions is None:
        # Tasks without this field keep the hash that they had before there was one.
        del content["assertions"]
    for name in _LATER_FIELDS:
        if getattr(task, name) == Task.model_fields[name].get_default(call_default_factory=True):
            del content[name]
    canonical = json.dumps(content, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def _as_text(value: object) -> object:
    # YAML reads an unquoted 0 as a number, where data files give text.
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _with_paths(task: Task, change: Callable[[str], str]) -> Task:
    def changed(source: str | None) -> str | None:
        return source if source is None or _ADDRESS.match(source) else change(source)

    data = task.data.model_copy(update={"train": changed(task.data.train), "test": changed(task.data.test)})
    code = None if task.code is None else change(task.code)
    return task.model_copy(update={"data": data, "code": code})


def _relative(source: str, folder: Path) -> str:
    try:
        return Path(os.path.relpath(source, folder)).as_posix()
    except ValueError:
        return source  # another drive on Windows


def _commented(model: BaseModel, indent: int = 0) -> CommentedMap:
    """Return the fields of `model` that are set, each below its description as a comment."""
    commented = CommentedMap()
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        if value is None or value in ({}, []) or (name in _LATER_FIELDS and value == field.default):
            continue
        description = field.description
        if isinstance(value, BaseModel):
            commented[name] = _commented(value, indent + 2)
        elif name == "labels" and isinstance(model, Task) and model.has_tags:
            commented[name], description = list(value), "the tags that words have"
        elif name in _LATER_FIELDS:
            commented[name] = model.model_dump(mode="json", include={name}, exclude_defaults=True)[name]
        else:
            commented[name] = _block(value) if name == "prompt" else value
        commented.yaml_set_comment_before_after_key(name, before=description, indent=indent)
    return commented


def _block(text: str) -> str:
    """Return `text` in block style where a block can hold it; otherwise it is quoted."""
    return LiteralScalarString(text) if text.replace("\n", "").isprintable() else text


def _first_problem(error: ValidationError) -> str:
    # A misspelt field is also a missing one: the misspelling explains more.
    problem = max(error.errors(), key=lambda problem: problem["type"] == "extra_forbidden")
    place = ".".join(str(part) for part in problem["loc"] if part != "[key]")
    if problem["type"] == "extra_forbidden":
        model = _MODELS.get(str(problem["loc"][0]), TaskData) if len(problem["loc"]) > 1 else Task
        return f"{place}: unknown field: {did_you_mean(str(problem['loc'][-1]), model.model_fields)}"
    if problem["type"] == "missing":
        return f"{place}: this field is required"
    message = problem["msg"][0].lower() + problem["msg"][1:]
    return f"{place}: {message}, found {problem['input']!r:.60}"


def _yaml_problem(error: YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    place = "" if mark is None else f" line {mark.line + 1}, column {mark.column + 1}"
    problem = getattr(error, "problem", None) or str(error)
    return f"{place}: not valid YAML: {' '.join(problem.split())}"
