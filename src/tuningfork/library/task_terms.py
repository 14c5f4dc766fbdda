"""What the task of a version says of how it is judged."""

from dataclasses import dataclass
from io import BytesIO

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from tuningfork.errors import LibraryError
from tuningfork.library.artifacts import ArtifactStore
from tuningfork.library.contents import VersionRecord

_TASK = "task.yaml"


@dataclass(frozen=True, slots=True)
class TaskTerms:
    """The metric that decides, and the smallest difference that matters."""

    metric: str | None = None
    margin: float = 0.0


def terms_of(artifacts: ArtifactStore, version: VersionRecord) -> TaskTerms:
    """The terms in the task file of a version; there are none without one.

    Raises:
        LibraryError: if the file is missing or damaged, or holds no task.
    """
    sha256 = version.content.files.get(_TASK)
    if sha256 is None:
        return TaskTerms()
    try:
        task = YAML(typ="safe", pure=True).load(BytesIO(artifacts.get(sha256)))
        metric, margin = task["metric"], task.get("margin") or 0.0
    except (YAMLError, UnicodeDecodeError, KeyError, TypeError, AttributeError) as error:
        raise LibraryError(f"{version.reference}: its {_TASK} is no task ({type(error).__name__})") from error
    if not isinstance(metric, str) or isinstance(margin, bool) or not isinstance(margin, int | float):
        raise LibraryError(f"{version.reference}: metric and margin of its {_TASK} cannot be read")
    if not 0 <= margin < float("inf"):
        raise LibraryError(f"{version.reference}: the margin of its {_TASK} is {margin}")
    return TaskTerms(metric, float(margin))
