"""Policies as people write them: a YAML or JSON file with each gate and its settings."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from tuningfork.errors import LibraryError


def read_policy(path: Path) -> Mapping[str, Any]:
    """The gates in `path`, each with its settings; a gate with nothing behind it has none.

    Raises:
        LibraryError: if the file cannot be read, or holds something else.
    """
    try:
        # JSON is YAML.
        content = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, YAMLError) as error:
        reason = " ".join(str(error).split())
        raise LibraryError(f"{path}: cannot be read as YAML ({reason:.200})") from error
    if not isinstance(content, dict) or not all(isinstance(name, str) for name in content):
        raise LibraryError(
            f"{path}: expected gates by name with their settings, such as contract: {{}}, "
            f"found {content!r:.60}"
        )
    return {name: {} if settings is None else settings for name, settings in content.items()}
