"""Named pieces of prompts, put in their places when a task is read: from then on its prompt is whole."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tuningfork.errors import TaskError
from tuningfork.tasks.assertions.declaration import Declared, Source
from tuningfork.tasks.suggestions import did_you_mean
from tuningfork.tasks.template_reading import TemplateLanguage, check_piece, partial_places

_FIELD = "partials"
_MOST_CHARACTERS = 200_000


def inline_partial_files(given: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return the fields of a task, `given`, with what files in `folder` say in place of their names.

    Raises:
        TaskError: A file is not in `folder`, or cannot be read.
    """
    partials = given.get(_FIELD)
    if not isinstance(partials, dict):
        return given
    found = {}
    for name, value in partials.items():
        if isinstance(value, dict) and value.keys() == {"file"}:
            value = Declared(f"{_FIELD}.{name}", value, {}, Source(folder)).file(value["file"])
        found[name] = value
    return {**given, _FIELD: found}


def with_partials(given: Any) -> Any:
    """Return the fields of a task, `given`, with its partials put into its prompt.

    Raises:
        TaskError: One is no text, is not used, has itself inside, or the prompt names one that there is not.
    """
    if not isinstance(given, dict) or _FIELD not in given or not isinstance(given.get("prompt"), str):
        return given
    given = dict(given)
    partials = given.pop(_FIELD)
    if not isinstance(partials, dict) or not all(isinstance(text, str) for text in partials.values()):
        raise TaskError(f"{_FIELD}: expected texts by name, or {{file: name.txt}}, found {partials!r:.60}")
    language = given.get("template_language", "simple")
    given["prompt"] = _Expansion(partials, language).of("", given["prompt"])
    return given


class _Expansion:
    """Puts pieces into texts, each read once however often it is named."""

    def __init__(self, partials: Mapping[str, str], language: TemplateLanguage) -> None:
        self._partials = partials
        self._language: TemplateLanguage = language
        self._whole: dict[str, str] = {}
        self._open: list[str] = []

    def of(self, name: str, text: str) -> str:
        """Return `text`, that of the piece `name`, with all pieces in their places."""
        where = f"{_FIELD}.{name}" if name else "prompt"
        parts, position, size = [], 0, len(text)
        for start, end, wanted in partial_places(text, self._language):
            piece = self._piece(where, wanted)
            if text[start - 1 : start] == "{" or piece.endswith(("{", "\\")):
                raise TaskError(
                    f"{where}: a brace or a backslash beside {{{{> {wanted}}}}} would be read together with "
                    "what follows; put a space there"
                )
            size += len(piece)
            if size > _MOST_CHARACTERS:
                raise TaskError(
                    f"{where}: with its partials it has more than {_MOST_CHARACTERS:,} characters"
                )
            parts += [text[position:start], piece]
            position = end
        return "".join([*parts, text[position:]])

    def _piece(self, where: str, name: str) -> str:
        if name in self._open:
            around = " -> ".join([*self._open[self._open.index(name) :], name])
            raise TaskError(f"{_FIELD}: {around} goes around in a circle")
        if name not in self._partials:
            raise TaskError(
                f"{where}: there is no partial {name!r:.40}: {did_you_mean(name, self._partials)}"
            )
        if name not in self._whole:
            self._open.append(name)
            text = self.of(name, self._partials[name].removesuffix("\n"))
            self._open.pop()
            try:
                check_piece(text, self._language)
            except TaskError as error:
                raise TaskError(f"{_FIELD}.{name}: {error}") from None
            self._whole[name] = text
        return self._whole[name]
