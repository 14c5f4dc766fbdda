"""The gate `cost`: a call is fast and cheap enough."""

import math
from collections.abc import Mapping

from tuningfork.library.evidence import CostRow
from tuningfork.library.evidence_records import evidence_of, load_evidence
from tuningfork.library.gates.findings import candidate_of, command_for
from tuningfork.library.gates.gate import GateResult, Move, Settings
from tuningfork.library.gates.settings import Setting, check_settings, count, number

_LEAST_CALLS = 100
_SHARE = 0.95


class CostGate:
    """The latency that 95 % of calls keep, and the mean price of a call, are within the budget."""

    name = "cost"
    known_settings: Mapping[str, Setting] = {
        "p95_seconds": number("latency that 95 % of calls keep; one of both is needed", excludes_low=True),
        "money_per_1000_calls": number("price, in the currency of the evidence; one of both is needed"),
        "min_rows": count(f"least calls, by default {_LEAST_CALLS}"),
    }

    def check_settings(self, settings: Settings) -> None:
        """Check them against `known_settings`.

        Raises:
            LibraryError: if a setting is unknown or impossible, or there is no budget.
        """
        needed = ("p95_seconds", "money_per_1000_calls")
        check_settings(self.name, settings, self.known_settings, needs_one_of=needed)

    def judge(self, move: Move, settings: Settings) -> GateResult:
        """Order the calls by latency, and average their prices."""
        side = candidate_of(move)
        records = evidence_of(move.connection, side.version_id, "cost")
        if not records:
            reason = (
                f"no cost of {move.candidate.reference}; bring it with: {command_for('cost', move.candidate)}"
            )
            return GateResult(self.name, False, reason)
        calls = load_evidence(move.artifacts, records[0], move.candidate).of_kind(CostRow)
        least = settings.get("min_rows", _LEAST_CALLS)
        if len(calls) < least:
            reason = f"{len(calls)} calls were measured, at least {least} are needed: measure more"
            return GateResult(self.name, False, reason, {"calls": len(calls)})
        figures: dict[str, float] = {"calls": len(calls)}
        says, passed = [], True
        if (most := settings.get("p95_seconds")) is not None:
            ordered = sorted(call.latency_seconds for call in calls)
            slow = ordered[math.ceil(_SHARE * len(ordered)) - 1]
            figures |= {"p95_seconds": slow}
            says.append(f"95 % of calls take at most {slow:.3g} s, budget {most:g} s")
            passed &= slow <= most
        if (most := settings.get("money_per_1000_calls")) is not None:
            prices = [call.money for call in calls if call.money is not None]
            if len(prices) < len(calls):
                reason = (
                    f"{len(calls) - len(prices)} of {len(calls)} calls have no price: measure with prices"
                )
                return GateResult(self.name, False, reason, figures)
            money = 1000 * math.fsum(prices) / len(prices)
            figures |= {"money_per_1000_calls": money}
            says.append(f"1,000 calls cost {money:.4g}, budget {most:g}")
            passed &= money <= most
        return GateResult(self.name, passed, f"{'; '.join(says)}, {len(calls)} calls", figures)
