"""Tune prompts, not models: adapt a frozen language model by optimising what precedes the input.

Public names load their module when first used, so that `import tuningfork` stays light.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tuningfork.errors import AccessError as AccessError
    from tuningfork.errors import BudgetSpent as BudgetSpent
    from tuningfork.errors import ConflictError as ConflictError
    from tuningfork.errors import ContextLengthError as ContextLengthError
    from tuningfork.errors import DataError as DataError
    from tuningfork.errors import FormatError as FormatError
    from tuningfork.errors import GateError as GateError
    from tuningfork.errors import LibraryError as LibraryError
    from tuningfork.errors import MissingDependencyError as MissingDependencyError
    from tuningfork.errors import ModelError as ModelError
    from tuningfork.errors import PromptError as PromptError
    from tuningfork.errors import QueueFullError as QueueFullError
    from tuningfork.errors import RemoteError as RemoteError
    from tuningfork.errors import RunError as RunError
    from tuningfork.errors import ServingError as ServingError
    from tuningfork.errors import SuiteError as SuiteError
    from tuningfork.errors import TaskError as TaskError
    from tuningfork.errors import TuningForkError as TuningForkError
    from tuningfork.library.actors import Actor as Actor
    from tuningfork.library.aliases import MoveRequest as MoveRequest
    from tuningfork.library.places import LibraryPlace as LibraryPlace
    from tuningfork.library.run_folder import RunFolder as RunFolder
    from tuningfork.library.run_records import TuneOptions as TuneOptions
    from tuningfork.library.store import Library as Library
    from tuningfork.models.frozen import FrozenModel as FrozenModel
    from tuningfork.models.loading import load_model as load_model
    from tuningfork.recipes.demo import examples_folder as examples_folder
    from tuningfork.recipes.loaded_run import LoadedRun as LoadedRun
    from tuningfork.recipes.loaded_run import load_run as load_run
    from tuningfork.recipes.open_version import open_version as open_version
    from tuningfork.recipes.register import register_run as register_run
    from tuningfork.recipes.register import register_text as register_text
    from tuningfork.recipes.tune import tune as tune
    from tuningfork.tasks.task import Task as Task
    from tuningfork.tasks.task import load_task as load_task
    from tuningfork.tasks.task import save_task as save_task

__version__ = "0.1.0"

# A public name stands here for run time and above for type checkers; a test holds the two together.
_MODULE_OF = {
    "AccessError": "tuningfork.errors",
    "BudgetSpent": "tuningfork.errors",
    "ConflictError": "tuningfork.errors",
    "ContextLengthError": "tuningfork.errors",
    "DataError": "tuningfork.errors",
    "FormatError": "tuningfork.errors",
    "GateError": "tuningfork.errors",
    "LibraryError": "tuningfork.errors",
    "MissingDependencyError": "tuningfork.errors",
    "ModelError": "tuningfork.errors",
    "PromptError": "tuningfork.errors",
    "QueueFullError": "tuningfork.errors",
    "RemoteError": "tuningfork.errors",
    "RunError": "tuningfork.errors",
    "ServingError": "tuningfork.errors",
    "SuiteError": "tuningfork.errors",
    "TaskError": "tuningfork.errors",
    "TuningForkError": "tuningfork.errors",
    "Actor": "tuningfork.library.actors",
    "FrozenModel": "tuningfork.models.frozen",
    "Library": "tuningfork.library.store",
    "LibraryPlace": "tuningfork.library.places",
    "LoadedRun": "tuningfork.recipes.loaded_run",
    "MoveRequest": "tuningfork.library.aliases",
    "RunFolder": "tuningfork.library.run_folder",
    "Task": "tuningfork.tasks.task",
    "TuneOptions": "tuningfork.library.run_records",
    "examples_folder": "tuningfork.recipes.demo",
    "load_model": "tuningfork.models.loading",
    "load_run": "tuningfork.recipes.loaded_run",
    "load_task": "tuningfork.tasks.task",
    "open_version": "tuningfork.recipes.open_version",
    "register_run": "tuningfork.recipes.register",
    "register_text": "tuningfork.recipes.register",
    "save_task": "tuningfork.tasks.task",
    "tune": "tuningfork.recipes.tune",
}

__all__ = sorted(_MODULE_OF)


def __getattr__(name: str) -> object:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_MODULE_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULE_OF})
