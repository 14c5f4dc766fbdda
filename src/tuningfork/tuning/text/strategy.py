"""What a strategy of a text search is."""

from typing import ClassVar, Protocol

from tuningfork.tuning.text.trials import Trials


class TextStrategy(Protocol):
    """Proposes candidates from what was tried, and asks for their scores.

    It sees training rows and scores on them, as `Trials` gives them, and draws from `trials.generator` only,
    so that the same seed proposes the same. It may plan by metric calls, never by time.
    """

    name: ClassVar[str]

    needs_proposer: ClassVar[bool]
    """Whether it asks for instructions."""

    packages: ClassVar[tuple[str, ...]]
    """What has to be installed beside Tuning Fork, from the extra `search`."""

    def search(self, trials: Trials) -> None:
        """Try candidates until nothing new comes to mind.

        Raises:
            SearchEnded: No more may be taken, which is the usual end.
        """
