"""What may come in from elsewhere: words that our own parser reads, tensors, and settings; never code."""

import os
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import cast, get_args

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.events import AliasEvent

from tuningfork.errors import FormatError, TaskError
from tuningfork.library.contents import Content
from tuningfork.tasks.custom_metrics import is_custom
from tuningfork.tasks.task import Task, load_task
from tuningfork.tasks.template import PromptTemplate
from tuningfork.tasks.template_reading import TemplateLanguage

TASK_FILE = "task.yaml"
MOST_WORDS_BYTES = 2**20
"""Of a text, or of a file of settings."""
_SETTINGS, _TENSORS = (".json", ".yaml", ".md", ".txt", ".jsonl"), (".safetensors",)
_LONGEST_HEADER = 10_000_000


def check_content(content: Content) -> None:
    """Check the words of `content`, and the names of its files.

    Raises:
        FormatError: if the words are no template of ours, or a file may be code.
    """
    contract = content.contract
    if contract.template_language not in get_args(TemplateLanguage):
        raise FormatError(f"the text prompt is in {contract.template_language!r:.40}, which is not read here")
    check_words(
        content.text,
        variables=contract.variables,
        language=cast(TemplateLanguage, contract.template_language),
    )
    for path in content.files:
        if PurePosixPath(path).suffix not in (*_SETTINGS, *_TENSORS):
            raise FormatError(
                f"{path!r:.80}: no file of a prompt; expected tensors (*.safetensors) or settings "
                f"(*{', *'.join(_SETTINGS)}), as anything else may be code"
            )


def check_words(
    text: str, *, variables: tuple[str, ...] = (), language: TemplateLanguage = "simple"
) -> PromptTemplate:
    """The template that `text` is.

    Raises:
        FormatError: if it is none of ours, or too long.
    """
    if len(text.encode(errors="surrogatepass")) > MOST_WORDS_BYTES:
        raise FormatError(f"the text prompt is larger than {MOST_WORDS_BYTES // 2**20} MiB")
    try:
        template = PromptTemplate(text, variables=variables, language=language)
    except TaskError as error:
        others = " (other languages of templates, such as Jinja, are not run)" if language == "simple" else ""
        raise FormatError(f"the text prompt is no template that is read here: {error}{others}") from error
    return template


def check_file(path: str, content: bytes) -> None:
    """Check the bytes of the file `path` of a version.

    Raises:
        FormatError: if it is not what its name says, or names code that would be run.
    """
    if path.endswith(_TENSORS):
        _check_tensors(path, content)
    elif len(content) > 16 * MOST_WORDS_BYTES:
        raise FormatError(f"{path}: {len(content)} bytes are too many for a file of settings")
    elif path == TASK_FILE:
        _check_task(content)


def _check_tensors(path: str, content: bytes) -> None:
    length = int.from_bytes(content[:8], "little")
    if len(content) < 8 or not 2 <= length <= min(_LONGEST_HEADER, len(content) - 8) or content[8:9] != b"{":
        raise FormatError(f"{path}: not a file of safetensors, or truncated")


def _check_task(content: bytes) -> None:
    task = read_task(content)
    for name in (task.metric, *task.metrics):
        if is_custom(name):
            raise FormatError(
                f"{TASK_FILE}: its metric {name!r:.60} is a function that would be imported and run; nothing "
                "from elsewhere may name code: give the task a built-in metric where it is from"
            )


def read_task(content: bytes) -> Task:
    """The task in `content`; nothing that it names is opened or imported.

    Raises:
        FormatError: if it is none.
    """
    if len(content) > MOST_WORDS_BYTES:
        raise FormatError(f"{TASK_FILE}: larger than {MOST_WORDS_BYTES // 2**20} MiB")
    with TemporaryDirectory() as folder:
        path = Path(folder) / TASK_FILE
        path.write_bytes(content)
        try:
            # A text that repeats itself by name grows without bounds as it is read.
            if any(isinstance(event, AliasEvent) for event in YAML(typ="safe", pure=True).parse(content)):
                raise FormatError(f"{TASK_FILE}: repeats parts of itself by name, which no task needs")
            return load_task(path, imports_code=False)
        except (YAMLError, ValueError, RecursionError) as error:
            raise FormatError(f"{TASK_FILE}: no YAML ({type(error).__name__})") from error
        except TaskError as error:
            raise FormatError(f"its task cannot be read: {error}".replace(f"{folder}{os.sep}", "")) from error
