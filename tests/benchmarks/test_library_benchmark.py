import json
import random
from pathlib import Path

import pytest

from benchmarks.full_library import fill, prompt_name
from benchmarks.library import figures, main, operations, table
from tests.library.prompts import add
from tuningfork.library.store import Library
from tuningfork.library.verification import verify


def test_a_library_that_is_filled_is_one_that_registering_makes(tmp_path: Path) -> None:
    with Library(tmp_path) as library:
        assert fill(library, 300) == 30
        found = verify(library)
        assert found.problems == ()
        assert found.num_versions == 300
        version = library.get(prompt_name(1))
        assert version.number == 9
        assert 700 < len(version.content.text) < 1300
        assert 1500 < len(version.lineage.model_dump_json()) < 2500
        assert add(library, prompt_name(1)).number == 11
        assert verify(library).problems == ()


def test_what_is_timed_answers(tmp_path: Path) -> None:
    with Library(tmp_path) as library:
        num_prompts = fill(library, 3000)
        asked = operations(library, num_prompts)
        chance = random.Random(0)
        for name in asked:
            assert any(asked[name](chance)() for _ in range(20)), name


def test_the_last_line_has_the_medians(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--versions", "100", "--repeats", "3"]) == 0
    printed = capsys.readouterr().out.splitlines()
    found = json.loads(printed[-1])
    assert list(found) == ["lookup_ms", "list_ms", "search_ms", "diff_ms", "register_ms"]
    assert all(0 < value < 10_000 for value in found.values())
    assert any(line.startswith("search, two words") for line in printed)


def test_medians_and_percentiles() -> None:
    names = ("lookup of an alias", "list", "search", "diff", "register")
    times = {name: [float(value) for value in range(1, 101)] for name in names}
    assert figures(times)["list_ms"] == 50.5
    assert table(times)[1].split() == ["lookup", "of", "an", "alias", "50.50", "96.00", "20"]
    assert table(times)[-1].split() == ["register", "50.50", "96.00", "50"]
