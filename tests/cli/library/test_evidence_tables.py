from pathlib import Path

import pytest

from tests.library.measured import measure
from tests.library.prompts import add
from tuningfork.cli.library.evidence_tables import print_datasets, print_evidence
from tuningfork.library.store import Library


def test_long_names_fit_80_columns(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with Library(tmp_path / "library") as library:
        version = add(library, "team/with-a-long-name/and-a-folder/tickets-of-all-kinds")
        measure(library, version, [1, 0, 1])
        print_evidence(library.evidence(version.reference), library.datasets(), as_json=False)
        print_datasets(library.datasets())
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert any("0.667" in line for line in lines)
