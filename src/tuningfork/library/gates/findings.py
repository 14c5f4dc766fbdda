"""Evidence as gates look for it: frozen sets only, read and checked, and what to do where it is missing."""

from collections.abc import Collection
from dataclasses import dataclass

from tuningfork.errors import GateError
from tuningfork.library.contents import VersionRecord
from tuningfork.library.datasets import DatasetRecord, find_dataset, known_dataset
from tuningfork.library.evidence import Evidence, EvidenceKind
from tuningfork.library.evidence_records import EvidenceRecord, evidence_of, load_evidence
from tuningfork.library.gates.gate import Move, Settings
from tuningfork.library.task_terms import terms_of
from tuningfork.library.versions import find_prompt, read_version, version_row

_SHOWN = 12


@dataclass(frozen=True, slots=True)
class Measurement:
    """What was measured of a version last, on a frozen set."""

    record: EvidenceRecord
    evidence: Evidence
    dataset: DatasetRecord
    times: int
    """How often it was measured on this set; whoever measures often enough finds luck."""

    @property
    def shown(self) -> str:
        """The set, and how often it was read where that is more than once."""
        return self.dataset.shown + (f", measured {self.times} times" if self.times > 1 else "")


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two versions of a move."""

    version: VersionRecord
    version_id: int


@dataclass(frozen=True, slots=True)
class Pair:
    """Candidate and current version, measured on one frozen set by one metric."""

    dataset: DatasetRecord
    ours: Measurement
    theirs: Measurement


def candidate_of(move: Move) -> Side:
    """The version that the alias shall point to."""
    return Side(move.candidate, move.candidate_id)


def predecessor_of(move: Move) -> Side | None:
    """The version that the alias points to or, where it was removed, the last one that is not revoked.

    So nobody gets around the current version by removing the alias first.
    """
    if move.current is not None and move.current_id is not None:
        return Side(move.current, move.current_id)
    # Aliases ask gates, so the module cannot be loaded before them.
    from tuningfork.library.aliases import REFUSED, history

    moves = [e for e in history(move.connection, move.candidate.prompt, move.alias) if e.kind != REFUSED]
    prompt = find_prompt(move.connection, move.candidate.prompt)
    for event in reversed(moves):
        if (number := event.payload["before"]) is not None:
            row = version_row(move.connection, prompt, number)
            if row.revoked is None:
                return Side(read_version(move.connection, prompt, row), row.id)
    return None


def measured(
    move: Move,
    side: Side,
    kind: EvidenceKind,
    roles: Collection[str],
    settings: Settings,
    *,
    metric: str | None = None,
) -> list[Measurement]:
    """The newest measurement on each frozen set in one of `roles`, or on the one that settings name.

    `metric` leaves out what was measured by another.

    Raises:
        GateError: if there is none; the message says what is missing and how to bring it.
        LibraryError: if one of them is damaged, of another content, or not what it says.
    """
    sets = _frozen_sets(move, side, kind, roles, settings)
    found = [one for dataset in sets if (one := _newest(move, side, kind, dataset, metric)) is not None]
    if not found:
        raise GateError(_missing(move, side, kind, roles, settings, metric))
    return found


def pairs(move: Move, current: Side, roles: Collection[str], settings: Settings) -> list[Pair]:
    """Evaluations of both versions on every frozen set that the current one was measured on.

    So nobody chooses the set on which a candidate looks best; settings may name the one that counts.

    Raises:
        GateError: if one of them is missing; the message says how to bring it.
        LibraryError: if one of them is damaged, of another content, or not what it says.
    """
    metric = terms_of(move.artifacts, move.candidate).metric
    sides = (candidate_of(move), current)
    sets = _frozen_sets(move, current, "evaluation", roles, settings)
    if not sets:
        # Says what is missing on either side, the candidate's first.
        ours = measured(move, sides[0], "evaluation", roles, settings, metric=metric)
        sets = [measurement.dataset for measurement in ours]
    found = []
    for dataset in sets:
        only = {**settings, "test_set": dataset.sha256}
        ours = measured(move, sides[0], "evaluation", roles, only, metric=metric)
        name = ours[0].evidence.header.metric
        assert name is not None
        theirs = measured(move, sides[1], "evaluation", roles, only, metric=name.name)
        found.append(Pair(dataset, ours[0], theirs[0]))
    return found


def command_for(kind: EvidenceKind, version: VersionRecord) -> str:
    """The command that brings evidence."""
    source = "--rows ROWS" if kind == "evaluation" else "--file EVIDENCE"
    return f"tuningfork library evidence add {version.reference} {source}"


def _frozen_sets(
    move: Move, side: Side, kind: EvidenceKind, roles: Collection[str], settings: Settings
) -> list[DatasetRecord]:
    """Frozen sets that something was measured on, the newest measurement first."""
    wanted = settings.get("test_set")
    only = None if wanted is None else find_dataset(move.connection, wanted).sha256
    found: dict[str, DatasetRecord] = {}
    for record in evidence_of(move.connection, side.version_id, kind):
        if record.dataset is None or record.dataset in found or only not in (None, record.dataset):
            continue
        dataset = known_dataset(move.connection, record.dataset)
        if dataset is not None and dataset.frozen is not None and dataset.role in roles:
            found[record.dataset] = dataset
    return list(found.values())


def _newest(
    move: Move, side: Side, kind: EvidenceKind, dataset: DatasetRecord, metric: str | None
) -> Measurement | None:
    """The newest measurement on a set; one that is damaged is not passed over for an older one."""
    found: tuple[EvidenceRecord, Evidence] | None = None
    times = 0
    for record in evidence_of(move.connection, side.version_id, kind):
        if record.dataset != dataset.sha256:
            continue
        times += 1
        if found is None:
            evidence = load_evidence(move.artifacts, record, side.version)
            header = evidence.header
            if metric is None or (header.metric is not None and header.metric.name == metric):
                found = (record, evidence)
    return None if found is None else Measurement(*found, dataset, times)


def _missing(
    move: Move,
    side: Side,
    kind: EvidenceKind,
    roles: Collection[str],
    settings: Settings,
    metric: str | None,
) -> str:
    version = side.version
    wanted = settings.get("test_set")
    only = None if wanted is None else find_dataset(move.connection, wanted)
    by = "" if metric is None else f" by {metric}"
    on = f"a frozen {' or '.join(roles)} set" if only is None else only.shown
    bring = f"bring it with: {command_for(kind, version)}"
    records = evidence_of(move.connection, side.version_id, kind)
    if only is not None:
        records = [record for record in records if record.dataset == only.sha256]
    sets = [known_dataset(move.connection, record.dataset) for record in records if record.dataset]
    loose = {one.shown: one for one in sets if one is not None and one.role in roles and one.frozen is None}
    if loose:
        first = next(iter(loose.values()))
        return (
            f"{kind} of {version.reference} is on {' and '.join(loose)}, which is not frozen; freeze it "
            f"with: tuningfork library dataset freeze {first.sha256[:_SHOWN]}"
        )
    content = f"{version.reference} (content {version.content_hash[:_SHOWN]})"
    return f"no {kind} of {content}{by} on {on}; {bring}"
