"""Every error that Tuning Fork raises on purpose.

```
TuningForkError
├── DataError            a row or a file of examples cannot be used
├── TaskError            a task file or a template is wrong
├── SuiteError           a suite of cases, or an assertion in it, is wrong
├── ModelError           a base model cannot be loaded or is not supported
│   ├── ContextLengthError   prompt + input + answer exceed the model's maximum
│   └── RemoteError          a model behind an address cannot be asked, or answers what cannot be read
│       └── BudgetSpent      asking on would cost more calls or money than was allowed
├── PromptError          a prompt does not fit the model, or a method cannot do what is asked
├── RunError             a run folder is missing, broken, or may not be resumed
├── FormatError          a file to import or export is not in the format it claims
├── LibraryError         the library, or something asked of it, cannot be used
│   ├── ConflictError        somebody else changed it meanwhile
│   ├── GateError            an alias may not move there: evidence is missing or speaks against it
│   └── AccessError          whoever asks may not do this
├── ServingError         a request cannot be served, or a server cannot be set up
│   └── QueueFullError       too many requests wait already
└── MissingDependencyError   an optional package is needed; the message says how to install it
```

A message is one line: what is wrong, where, what was expected, what was found, what to do.
"""


class TuningForkError(Exception):
    """Root of the tree; the command line prints it as one line and exits with code 1."""


class DataError(TuningForkError):
    """A row or a file of examples cannot be used."""


class TaskError(TuningForkError):
    """A task file, template or verbalizer is wrong."""


class SuiteError(TuningForkError):
    """A suite of cases, or an assertion in it, is wrong."""


class ModelError(TuningForkError):
    """A base model cannot be loaded or is not supported."""


class ContextLengthError(ModelError):
    """Prompt, input and answer together exceed the model's maximum length."""


class RemoteError(ModelError):
    """A model behind an address cannot be asked, or answers what cannot be read."""


class BudgetSpent(RemoteError):
    """Asking on would cost more calls or money than was allowed; what was answered is kept."""


class PromptError(TuningForkError):
    """A prompt does not fit the model, or a method cannot do what is asked."""


class RunError(TuningForkError):
    """A run folder is missing, broken, or may not be resumed."""


class FormatError(TuningForkError):
    """A file to import or export is not in the format it claims."""


class LibraryError(TuningForkError):
    """The library, or something asked of it, cannot be used."""


class ConflictError(LibraryError):
    """Somebody else changed meanwhile what was to be changed."""


class GateError(LibraryError):
    """An alias may not move to a version: evidence is missing or speaks against it."""


class AccessError(LibraryError):
    """Whoever asks may not do what was asked."""


class ServingError(TuningForkError):
    """A request cannot be served, or a server cannot be set up."""


class QueueFullError(ServingError):
    """Too many requests wait already.

    `retry_after_seconds` is when it is worth asking again.
    """

    def __init__(self, message: str, *, retry_after_seconds: float) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class MissingDependencyError(TuningForkError):
    """An optional package is needed for what was asked."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs the package {package!r}, which is not installed: "
            f"pip install 'tuningfork[{extra}]'"
        )
