"""Every gate that needs evidence, against evidence that is missing, forged or of something else."""

import json
from collections.abc import Callable, Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import insert, update

from tests.library.gates.moves import moving
from tests.library.measured import evidence_from, row_keys
from tests.library.prompts import add
from tuningfork.errors import GateError, LibraryError
from tuningfork.library import schema
from tuningfork.library.aliases import MoveRequest
from tuningfork.library.contents import VersionRecord
from tuningfork.library.database import writing
from tuningfork.library.datasets import hash_of_keys
from tuningfork.library.evidence import EvidenceKind, write_evidence
from tuningfork.library.gates.gate import GateResult
from tuningfork.library.gates.policy import GATES, judge
from tuningfork.library.store import Library
from tuningfork.library.versions import add_artifact

POLICY: Mapping[str, Mapping[str, Any]] = {
    "evaluated": {"min_rows": 1},
    "no_worse": {"margin": 1.0},
    "critical_cases": {"pass_at": 0.0},
    "robustness": {"limit": 1.0, "min_rows": 1, "min_variants": 2},
    "bias": {"max_flip_rate": 1.0, "max_gap": 2.0},
    "guard": {"max_false_positives": 1.0},
    "cost": {"p95_seconds": 1e9, "min_rows": 1},
}
"""Limits that whatever was measured keeps: what fails here fails for want of evidence."""
KIND_OF: Mapping[str, EvidenceKind] = {
    "evaluated": "evaluation",
    "no_worse": "evaluation",
    "critical_cases": "evaluation",
    "robustness": "robustness",
    "bias": "bias",
    "guard": "guard",
    "cost": "cost",
}
ROWS: Mapping[EvidenceKind, list[dict[str, Any]]] = {
    "evaluation": [{"row": key, "score": place % 2} for place, key in enumerate(row_keys(30))],
    "robustness": [
        {"row": key, "variant": variant, "score": 1.0} for key in row_keys(30, "r") for variant in "abc"
    ],
    "bias": [
        {
            "row": key,
            "template": f"t{place % 5}",
            "groups": ("women", "men"),
            "answers": ("yes", "yes"),
            "scores": (0.5, 0.5),
        }
        for place, key in enumerate(row_keys(30, "b"))
    ],
    "guard": [{"row": key, "is_blocked": False} for key in row_keys(30, "g")],
    "cost": [{"row": key, "latency_seconds": 0.1} for key in row_keys(30, "c")],
}
Lines = list[dict[str, Any]]


def lines_of(version: VersionRecord, kind: EvidenceKind) -> Lines:
    content = write_evidence(evidence_from(version, kind, ROWS[kind]))
    return [json.loads(line) for line in content.splitlines()]


def plant(library: Library, version: VersionRecord, content: bytes, **fields: Any) -> None:
    """Put evidence where the library keeps it, past all its checks."""
    sha256 = library.artifacts.put(content)
    with writing(library.engine) as connection:
        add_artifact(connection, sha256, len(content))
        known = {
            "version_id": connection.execute(
                schema.version.select().where(
                    schema.version.c.number == version.number,
                    schema.version.c.content_hash == version.content_hash,
                )
            )
            .one()
            .id,
            "content_hash": version.content_hash,
            "summary": {"score": 1.0, "passed": True, "accuracy": 1.0},
            "sha256": sha256,
            "author": "eve",
            "created": "9999-01-01",
        }
        connection.execute(insert(schema.evidence).values(**known | fields))


def plant_lines(library: Library, version: VersionRecord, lines: Lines, **fields: Any) -> None:
    content = "".join(json.dumps(line) + "\n" for line in lines).encode()
    plant(
        library,
        version,
        content,
        **{"kind": lines[0]["kind"], "dataset_sha256": lines[0].get("dataset")} | fields,
    )


def freeze_all(library: Library) -> None:
    roles = {"evaluation": "test", "robustness": "test", "bias": "probes", "guard": "clean"}
    for kind, role in roles.items():
        rows = ROWS[kind]  # type: ignore[index]
        keys = sorted({row["row"] for row in rows})
        made = library.add_dataset(f"set/{kind}", keys, role=role, author="ann")  # type: ignore[arg-type]
        library.freeze_dataset(made.sha256, actor="ann")


def results(library: Library, candidate: VersionRecord, current: VersionRecord) -> dict[str, GateResult]:
    with moving(library, candidate, current) as move:
        return {result.gate: result for result in judge(move, POLICY)}


@pytest.fixture
def versions(library: Library) -> tuple[VersionRecord, VersionRecord]:
    """Candidate and current version; the current one is measured, all sets are frozen."""
    current, candidate = add(library), add(library, tensors=b"candidate")
    freeze_all(library)
    for kind in ROWS:
        plant_lines(library, current, lines_of(current, kind))
    return candidate, current


def test_every_gate_that_needs_evidence_is_tried_here() -> None:
    assert set(GATES) - set(POLICY) == {"contract", "known_data", "approvals", "servable"}


def test_evidence_that_is_whole_passes_all(
    library: Library, versions: tuple[VersionRecord, VersionRecord]
) -> None:
    candidate, current = versions
    for kind in ROWS:
        plant_lines(library, candidate, lines_of(candidate, kind))
    failed = {
        name: one.reason for name, one in results(library, candidate, current).items() if not one.passed
    }
    assert failed == {}


def test_without_any_nothing_passes(library: Library, versions: tuple[VersionRecord, VersionRecord]) -> None:
    for name, result in results(library, *versions).items():
        assert not result.passed
        assert f"no {KIND_OF[name]} of shop/tickets@2" in result.reason
        assert "bring it with: tuningfork library evidence add shop/tickets@2 --" in result.reason


def other_content(lines: Lines, other: str) -> None:
    lines[0]["content_hash"] = other


def other_set(lines: Lines, other: str) -> None:
    lines[0]["dataset"] = other


def a_row_too_few(lines: Lines, other: str) -> None:
    lines.pop()


def a_row_of_another_set(lines: Lines, other: str) -> None:
    lines[-1]["row"] = other


def a_row_twice(lines: Lines, other: str) -> None:
    lines[-1] = lines[1]


def no_number(lines: Lines, other: str) -> None:
    names = {"score", "scores", "is_blocked", "latency_seconds"} & set(lines[1])
    lines[1][names.pop()] = float("nan")


def a_field_that_says_it_passed(lines: Lines, other: str) -> None:
    lines[1]["passed"] = True


def another_kind(lines: Lines, other: str) -> None:
    lines[0]["kind"] = "magic"


def a_later_format(lines: Lines, other: str) -> None:
    lines[0]["format"] = 2


def no_rows(lines: Lines, other: str) -> None:
    del lines[1:]


SPOILS: list[Callable[[Lines, str], None]] = [
    other_content,
    other_set,
    a_row_too_few,
    a_row_of_another_set,
    a_row_twice,
    no_number,
    a_field_that_says_it_passed,
    another_kind,
    a_later_format,
    no_rows,
]
WITHOUT_A_SET = {"a_row_too_few", "a_row_of_another_set", "a_row_twice"}


@pytest.mark.parametrize("spoil", SPOILS, ids=lambda spoil: spoil.__name__)
def test_spoilt_evidence_passes_nothing(
    library: Library,
    versions: tuple[VersionRecord, VersionRecord],
    spoil: Callable[[Lines, str], None],
) -> None:
    candidate, current = versions
    for kind in ROWS:
        lines = lines_of(candidate, kind)
        real = lines[0].get("dataset")
        spoil(lines, "0" * 64)
        # The record itself is made to look right, so that only the rows can tell.
        plant_lines(library, candidate, lines, kind=kind, dataset_sha256=real)
    for name, result in results(library, candidate, current).items():
        if name == "cost" and spoil.__name__ in WITHOUT_A_SET:
            # Calls belong to no set.
            continue
        assert not result.passed, (name, result.reason)
        assert result.reason.startswith("cannot be judged: "), (name, result.reason)


def test_evidence_of_the_current_version_is_not_the_candidate_s(
    library: Library, versions: tuple[VersionRecord, VersionRecord]
) -> None:
    candidate, current = versions
    for kind in ROWS:
        plant_lines(library, candidate, lines_of(current, kind))
    for result in results(library, candidate, current).values():
        assert not result.passed
        assert "is not what its record says" in result.reason


def test_a_set_that_is_not_frozen_passes_nothing(
    library: Library, versions: tuple[VersionRecord, VersionRecord]
) -> None:
    candidate, current = versions
    for kind in ROWS:
        plant_lines(library, candidate, lines_of(candidate, kind))
    with writing(library.engine) as connection:
        connection.execute(update(schema.dataset).values(frozen=None))
    found = results(library, candidate, current)
    assert found.pop("cost").passed
    for result in found.values():
        assert not result.passed
        assert "is not frozen; freeze it with: tuningfork library dataset freeze " in result.reason


def test_a_file_that_was_changed_passes_nothing(
    library: Library, versions: tuple[VersionRecord, VersionRecord], tmp_path: Path
) -> None:
    candidate, current = versions
    for kind in ROWS:
        plant_lines(library, candidate, lines_of(candidate, kind))
    for path in (tmp_path / "artifacts").glob("??/*"):
        path.write_bytes(path.read_bytes() + b" ")
    for result in results(library, candidate, current).values():
        assert not result.passed
        assert "is damaged or was changed" in result.reason


def test_a_refusal_names_every_gate_that_failed(library: Library) -> None:
    version = add(library)
    library.set_policy(None, "production", POLICY, actor="admin")
    with pytest.raises(GateError) as told:
        library.move_alias(MoveRequest(version.prompt, "production", 1, "ann"))
    for name in set(POLICY) - {"no_worse", "critical_cases"}:
        assert f"{name}: " in str(told.value)


_PROMPTS = count()


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    with Library(tmp_path_factory.mktemp("small") / "library") as opened:
        freeze_all(opened)
        yield opened


SCORES = st.floats(0, 1) | st.floats() | st.sampled_from([0, 1, None, "1", True, [1]])
VALUES: st.SearchStrategy[Any] = st.sampled_from(
    ["yes", "", 0, -1, 1e308, float("nan"), float("inf"), None, [], {}, "0" * 64]
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    scores=st.lists(SCORES, min_size=1, max_size=6),
    changes=st.lists(st.tuples(st.integers(0, 6), st.sampled_from(sorted(ROWS)), VALUES), max_size=3),
    fields=st.sampled_from(["row", "score", "dataset", "content_hash", "metric", "variant", "groups", "x"]),
)
def test_whatever_the_rows_gates_answer_and_pass_nothing_but_evidence(
    small: Library, scores: list[Any], changes: list[tuple[int, EvidenceKind, Any]], fields: str
) -> None:
    name = f"prompt-{next(_PROMPTS)}"
    current = add(small, name, tensors=f"{name} current".encode())
    candidate = add(small, name, tensors=f"{name} candidate".encode())
    keys = row_keys(len(scores))
    head = {"format": 1, "kind": "evaluation", "dataset": hash_of_keys(keys), "metric": {"name": "accuracy"}}
    lines: Lines = [head | {"content_hash": candidate.content_hash}]
    lines += [{"row": key, "score": score} for key, score in zip(keys, scores, strict=True)]
    made = small.add_dataset("whatever", keys, author="ann")
    small.freeze_dataset(made.sha256, actor="ann")
    for version in (candidate, current):
        lines[0]["content_hash"] = version.content_hash
        plant_lines(small, version, lines)
    spoilt = lines_of(candidate, "guard")
    for place, kind, value in changes:
        spoilt = lines_of(candidate, kind)
        spoilt[min(place, len(spoilt) - 1)][fields] = value
        plant_lines(
            small, candidate, spoilt, kind=kind, dataset_sha256=lines_of(candidate, kind)[0].get("dataset")
        )
    found = results(small, candidate, current)
    assert set(found) == set(POLICY)
    for gate, result in found.items():
        assert result.reason
        if result.passed:
            with moving(small, candidate, current) as move:
                assert evidence_is_whole(small, candidate, KIND_OF[gate]), (gate, result.reason)
                json.dumps(judge(move, POLICY)[0].figures, allow_nan=False)


def evidence_is_whole(library: Library, version: VersionRecord, kind: EvidenceKind) -> bool:
    """Whether some evidence of this kind can be read by whoever asks."""
    for record in library.evidence(version.reference, kind):
        try:
            library.read_evidence(version.reference, record)
        except LibraryError:
            continue
        return True
    return False
