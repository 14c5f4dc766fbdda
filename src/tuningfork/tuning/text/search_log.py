"""The log of a search: every score and every proposal, a line each, never changed; so a search can go on."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tuningfork.errors import RunError
from tuningfork.tuning.text.scoring import RowScore

_FORMAT = 1


class SearchLog:
    """An append-only file of JSON lines; without a path, the same in memory.

    A score is kept by the hash of model and prompt, and the hash of the row. What a killed process left of a
    last line is cut off when the file is opened.

    Raises:
        RunError: A line is damaged, or the log is of another model.
    """

    def __init__(self, path: Path | None = None, *, model_key: str = "") -> None:
        """Read what the log at `path` holds, or begin it."""
        self._path = path
        self._scores: dict[str, dict[str, RowScore]] = {}
        self._proposals: dict[str, tuple[str, ...]] = {}
        self._candidates: set[str] = set()
        self.seconds = 0.0
        """Taken by scores and proposals of all sessions before this one."""
        self.money = 0.0
        lines = [] if path is None else _lines_of(path)
        if not lines:
            self._append({"format": _FORMAT, "model": model_key})
            return
        if lines[0].get("model") != model_key:
            raise RunError(f"{path}: is of another model or another way to ask it; start a new search")
        for line in lines[1:]:
            self._take(line)

    @classmethod
    def spent(cls, path: Path) -> tuple[float, float]:
        """Seconds and money that the log at `path` says were taken."""
        lines = _lines_of(path)[1:]
        return sum(line.get("seconds", 0.0) for line in lines), sum(line.get("money", 0.0) for line in lines)

    def score(self, candidate: str, row: str) -> RowScore | None:
        """The score of the candidate and row with these hashes, if it was kept."""
        return self._scores.get(candidate, {}).get(row)

    def proposal(self, request: str) -> tuple[str, ...] | None:
        """What was proposed to the request with this hash, if it was kept."""
        return self._proposals.get(request)

    def add_candidate(self, key: str, prompt: str, origin: str) -> None:
        """Keep what a hash stands for, once."""
        if key in self._candidates:
            return
        self._candidates.add(key)
        self._append({"candidate": key, "origin": origin, "prompt": prompt})

    def add_scores(
        self, candidate: str, scores: Mapping[str, RowScore], *, seconds: float, money: float
    ) -> None:
        """Keep scores of a candidate by row."""
        self._scores.setdefault(candidate, {}).update(scores)
        values = {row: [score.value, score.answer] for row, score in scores.items()}
        self._append({"scores": candidate, "values": values, "seconds": seconds, "money": money})

    def add_proposal(self, request: str, texts: Sequence[str], *, seconds: float, money: float) -> None:
        """Keep what was proposed."""
        self._proposals[request] = tuple(texts)
        self._append({"proposal": request, "texts": list(texts), "seconds": seconds, "money": money})

    def add_spent(self, *, seconds: float, money: float) -> None:
        """Keep what was taken for something that is not kept itself."""
        self._append({"seconds": seconds, "money": money})

    def _take(self, line: Mapping[str, Any]) -> None:
        if "candidate" in line:
            self._candidates.add(line["candidate"])
            return
        if "scores" in line:
            scores = {row: RowScore(float(value), str(said)) for row, (value, said) in line["values"].items()}
            self._scores.setdefault(line["scores"], {}).update(scores)
        elif "proposal" in line:
            self._proposals[line["proposal"]] = tuple(map(str, line["texts"]))
        self.seconds += line["seconds"]
        self.money += line["money"]

    def _append(self, line: Mapping[str, Any]) -> None:
        if self._path is None:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        # One write, and on disk before anything builds on it.
        with self._path.open("ab") as file:
            file.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())


def _lines_of(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a log; what a killed process left behind them is cut off."""
    if not path.is_file():
        return []
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        os.truncate(path, whole)
    found = []
    for number, line in enumerate(content[:whole].splitlines(), start=1):
        try:
            found.append(json.loads(line))
            _check(found[-1], is_first=number == 1)
        except (ValueError, KeyError, TypeError) as error:
            raise RunError(
                f"{path}:{number}: this line of the search is damaged ({error}); start a new search"
            ) from error
    return found


def _check(line: Any, *, is_first: bool) -> None:
    """Fail on what is no line of a log."""
    if is_first:
        if line["format"] != _FORMAT:
            raise ValueError(f"format {line['format']}, expected {_FORMAT}")
        return
    if "candidate" in line:
        return
    if "scores" in line:
        for value, said in line["values"].values():
            _ = float(value), str(said)
    elif "proposal" in line:
        _ = str(line["proposal"]), list(line["texts"])
    _ = float(line["seconds"]), float(line["money"])
