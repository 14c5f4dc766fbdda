"""Text searches on the tiny model: as few calls as still try something."""

from typing import Any

from tuningfork.library.optimization_folder import OptimizationOptions
from tuningfork.library.run_records import TuneOptions


def search_options(model: str, **changes: Any) -> OptimizationOptions:
    given: dict[str, Any] = {
        "tuning": TuneOptions(model=model, device="cpu", dtype="float32", refit="no"),
        "strategies": ("nearest_demonstrations", "edits"),
        "budget_calls": 200,
        "num_finalists": 2,
        "most_demonstrations": 2,
    }
    return OptimizationOptions(**(given | changes))
