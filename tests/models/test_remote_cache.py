import json
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuningfork.models.remote_cache import Reply, ResponseCache, request_key

BODY = {"model": "m", "messages": [{"role": "user", "content": "grün"}]}
REPLY = Reply({"choices": [{"text": "ja"}]}, 1.5)


def test_an_answer_is_read_back(tmp_path: Path) -> None:
    cache = ResponseCache(tmp_path / "remote")
    key = request_key("https://x/v1/completions", BODY, 0)
    assert cache.read(key) is None
    cache.write(key, BODY, REPLY)
    assert cache.read(key) == REPLY
    assert cache.path(key) == tmp_path / "remote" / key[:2] / f"{key[2:]}.json"
    assert [p.name for p in (tmp_path / "remote" / key[:2]).iterdir()] == [f"{key[2:]}.json"]


def test_only_the_owner_can_look_into_the_cache(tmp_path: Path) -> None:
    cache = ResponseCache(tmp_path)
    cache.write("ab" * 32, BODY, REPLY)
    assert stat.S_IMODE((tmp_path / "ab").stat().st_mode) == 0o700


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", '{"response": 3, "seconds": 1}', '{"response": {}}', '{"response": {}, "seconds": "x"}'],
)
def test_a_damaged_file_counts_as_absent(tmp_path: Path, content: str) -> None:
    cache = ResponseCache(tmp_path)
    cache.write("cd" * 32, BODY, REPLY)
    cache.path("cd" * 32).write_text(content, encoding="utf-8")
    assert cache.read("cd" * 32) is None


def test_each_part_of_a_request_counts() -> None:
    other = {**BODY, "temperature": 0}
    keys = {
        request_key("https://x/v1", BODY, 0),
        request_key("https://y/v1", BODY, 0),
        request_key("https://x/v1", other, 0),
        request_key("https://x/v1", BODY, 1),
    }
    assert len(keys) == 4


@given(st.dictionaries(st.text(), st.text() | st.integers() | st.booleans(), min_size=1))
def test_the_order_of_fields_does_not_count(body: dict[str, str | int | bool]) -> None:
    turned = dict(reversed(body.items()))
    assert request_key("https://x", body, 0) == request_key("https://x", turned, 0)
    assert request_key("https://x", json.loads(json.dumps(body)), 0) == request_key("https://x", body, 0)
