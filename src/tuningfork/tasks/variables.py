"""What values a prompt's variables may have, and what stands for one that a row does not give."""

import json
import re
from collections.abc import Collection, Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tuningfork.errors import DataError, TaskError
from tuningfork.tasks.suggestions import did_you_mean

_WHOLE_NUMBER = re.compile(r"[+-]?[0-9]{1,18}", re.ASCII)
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?", re.ASCII)
_BOOLEANS = {"true": True, "false": False}
_LONGEST_NUMBER = 100

VariableType = Literal["string", "integer", "number", "boolean", "json"]


class VariableSpec(BaseModel):
    """What one variable of the prompt may be. Values are texts, as rows hold them."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)

    type: VariableType = "string"
    """string, integer, number, boolean (true or false), or json (a list or an object, to loop over)"""
    values: list[str] | None = None
    """the only texts that it may be"""
    max_length: int | None = Field(default=None, ge=1)
    """the most characters that it may have"""
    default: str | int | float | bool | None = None
    """what stands for it where a row has none or an empty one; without it, each row must have one"""

    @model_validator(mode="before")
    @classmethod
    def _read_short_form(cls, given: Any) -> Any:
        return {"type": given} if isinstance(given, str) else given

    @model_validator(mode="after")
    def _check_default(self) -> "VariableSpec":
        if self.values is not None and not self.values:
            raise TaskError("values: the list of what it may be is empty")
        if self.default_text is not None and (problem := self.problem(self.default_text)) is not None:
            raise TaskError(f"default: {problem}")
        return self

    @property
    def default_text(self) -> str | None:
        """What stands for it where a row has none, as text."""
        if self.default is None or isinstance(self.default, str):
            return self.default
        return json.dumps(self.default)

    def problem(self, text: str) -> str | None:
        """What is wrong with `text` as a value, or None."""
        if self.max_length is not None and len(text) > self.max_length:
            return f"has {len(text)} characters, expected at most {self.max_length}"
        if self.values is not None and text not in self.values:
            return f"expected one of {', '.join(self.values)}, found {_shown(text)}"
        try:
            self.value_of(text)
        except ValueError:
            return f"expected {_IN_WORDS[self.type]}, found {_shown(text)}"
        return None

    def value_of(self, text: str) -> Any:
        """Return what `text` is when a template counts or compares it.

        Raises:
            ValueError: It is no value of this type.
        """
        match self.type:
            case "string":
                return text
            case "integer" if _WHOLE_NUMBER.fullmatch(text):
                return int(text)
            case "number" if len(text) <= _LONGEST_NUMBER and _NUMBER.fullmatch(text):
                return int(text) if _WHOLE_NUMBER.fullmatch(text) else float(text)
            case "boolean" if text in _BOOLEANS:
                return _BOOLEANS[text]
            case "json":
                return _read_json(text)
        raise ValueError(f"expected {_IN_WORDS[self.type]}")


_IN_WORDS: dict[VariableType, str] = {
    "string": "a text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "json": "a list or an object as JSON",
}


def check_specs(specs: Mapping[str, VariableSpec], inputs: Collection[str]) -> None:
    """Check that every variable that is described is among the `inputs` of the task.

    Raises:
        TaskError: One is not.
    """
    for name in specs:
        if name not in inputs:
            hint = did_you_mean(name, inputs) or "a task on conversations has none"
            raise TaskError(f"variables: {name} is not in data.inputs: {hint}")


def completed(specs: Mapping[str, VariableSpec], values: Mapping[str, str]) -> dict[str, str]:
    """Return `values` with defaults where one is missing or empty.

    Raises:
        DataError: A value is not what its variable may be.
    """
    whole = dict(values)
    for name, spec in specs.items():
        if not whole.get(name) and spec.default_text is not None:
            whole[name] = spec.default_text
        if name in whole and (problem := spec.problem(whole[name])) is not None:
            raise DataError(f"variable {name}: {problem}")
    return whole


def _read_json(text: str) -> Any:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, list | dict):
        raise ValueError(f"expected {_IN_WORDS['json']}")
    return value


def _shown(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:37] + "...")
