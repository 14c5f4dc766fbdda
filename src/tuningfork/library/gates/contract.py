"""The gate `contract`: callers of the alias find what they rely on."""

from math import inf
from typing import Any

from tuningfork.errors import LibraryError
from tuningfork.library.contents import Contract
from tuningfork.library.gates.gate import GateResult, Move, Settings


class ContractGate:
    """Inputs and outputs of the candidate are those of the current version, or wider."""

    name = "contract"

    def check_settings(self, settings: Settings) -> None:
        """It has one setting: `may_change`.

        Raises:
            LibraryError: if there is another, or it is not true or false.
        """
        if set(settings) - {"may_change"} or not isinstance(settings.get("may_change", False), bool):
            raise LibraryError(
                f"gate contract: its only setting is may_change (true or false), found {settings}"
            )

    def judge(self, move: Move, settings: Settings) -> GateResult:
        """Compare the contracts."""
        ours = move.candidate.content.contract
        if move.current is None or settings.get("may_change", False):
            return GateResult(self.name, True, f"{_described(ours)}; no earlier contract binds it")
        problems = broken_promises(ours, move.current.content.contract)
        if problems:
            reason = f"callers of {move.alias} would break: {'; '.join(problems)}"
            return GateResult(self.name, False, reason)
        return GateResult(self.name, True, f"{_described(ours)}, as {move.current.reference}")


def broken_promises(ours: Contract, theirs: Contract) -> list[str]:
    """Why callers who rely on `theirs` would break with `ours`; empty if they would not."""
    problems = []
    if ours.task_type != theirs.task_type:
        problems.append(f"it is {ours.task_type}, was {theirs.task_type}")
    if bool(ours.variables) != bool(theirs.variables):
        problems.append("conversations and inputs do not replace each other")
    elif wanted := set(ours.variables) - set(theirs.variables) - _optional(ours):
        problems.append(f"it needs {', '.join(sorted(wanted))}, which callers do not give")
    for name in ours.variables:
        if name in theirs.variables and _takes_less(
            ours.variable_types.get(name, {}), theirs.variable_types.get(name, {})
        ):
            problems.append(f"it takes less as {name} than callers may give")
    if theirs.labels and set(ours.labels) - set(theirs.labels):
        unknown = ", ".join(sorted(set(ours.labels) - set(theirs.labels)))
        problems.append(f"it may answer {unknown}, which callers do not know")
    if theirs.output_schema is not None and ours.output_schema != theirs.output_schema:
        problems.append("its output schema is another")
    return problems


def _optional(contract: Contract) -> set[str]:
    return {name for name, spec in contract.variable_types.items() if spec.get("default") is not None}


def _takes_less(ours: dict[str, Any], theirs: dict[str, Any]) -> bool:
    """Whether a value that fits what `theirs` says of a variable may not fit what `ours` does."""
    kind, before = ours.get("type", "string"), theirs.get("type", "string")
    is_wider = kind in ("string", before) or (kind == "number" and before == "integer")
    most, most_before = (spec.get("max_length") or inf for spec in (ours, theirs))
    allowed, allowed_before = ours.get("values"), theirs.get("values")
    has_all = allowed is None or (allowed_before is not None and set(allowed_before) <= set(allowed))
    may_be_missing = ours.get("default") is not None or theirs.get("default") is None
    return not (is_wider and most >= most_before and has_all and may_be_missing)


def _described(contract: Contract) -> str:
    takes = ", ".join(contract.variables) or "a conversation"
    return f"{contract.task_type} from {takes}"
