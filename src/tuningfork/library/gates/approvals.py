"""The gate `approvals`: others than who made it, and than who moves it, have said yes."""

from collections.abc import Mapping

from tuningfork.library.approvals import people_beside, standing_approvals
from tuningfork.library.gates.gate import GateResult, Move, Settings
from tuningfork.library.gates.settings import Setting, check_settings, count


class ApprovalsGate:
    """Enough people approved this very version under this alias, and did not take it back."""

    name = "approvals"
    known_settings: Mapping[str, Setting] = {"count": count("how many people, by default 1")}

    def check_settings(self, settings: Settings) -> None:
        """Check them against `known_settings`.

        Raises:
            LibraryError: if a setting is unknown or impossible.
        """
        check_settings(self.name, settings, self.known_settings)

    def judge(self, move: Move, settings: Settings) -> GateResult:
        """Count people, not approvals."""
        needed = settings.get("count", 1)
        given = standing_approvals(move.connection, move.candidate_id, move.alias)
        people = people_beside(given, move.candidate.author, move.actor)
        figures = {"approvals": len(people), "needed": needed}
        if len(people) >= needed:
            return GateResult(self.name, True, f"approved by {', '.join(people)}", figures)
        reason = (
            f"{len(people)} of {needed} approvals by others than {move.candidate.author}, who made it, and "
            f"{move.actor}, who moves it; they give it with: tuningfork library approve "
            f"{move.candidate.reference} --alias {move.alias}"
        )
        return GateResult(self.name, False, reason, figures)
