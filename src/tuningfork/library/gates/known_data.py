"""The gate `known_data`: what the version learned from is known by its hash."""

from tuningfork.errors import LibraryError
from tuningfork.library.gates.gate import GateResult, Move, Settings


class KnownDataGate:
    """Lineage names the training rows and, for what was tuned, the base model, by hash."""

    name = "known_data"

    def check_settings(self, settings: Settings) -> None:
        """It has none.

        Raises:
            LibraryError: if there are some.
        """
        if settings:
            raise LibraryError(f"gate known_data has no settings, found {dict(settings)}")

    def judge(self, move: Move, settings: Settings) -> GateResult:
        """Look at the lineage; words that nothing was learned for need no data."""
        version = move.candidate
        if version.content.kind == "text" and version.lineage.origin == "text":
            return GateResult(self.name, True, "words that were written, not learned")
        missing = [
            what
            for what, found in (
                ("hash of the training rows", version.lineage.data_hash),
                ("hash of the base model", version.lineage.base_weights or version.content.kind == "text"),
            )
            if not found
        ]
        if missing:
            return GateResult(
                self.name, False, f"{' and '.join(missing)} unknown: register the run that made it"
            )
        return GateResult(self.name, True, f"trained on rows {version.lineage.data_hash[:12]}")
