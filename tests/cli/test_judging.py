import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commands import Completed, invoke
from tests.scripted_server import (
    KEY,
    KEY_VARIABLE,
    Asked,
    Reply,
    ScriptedServer,
    chat_reply,
    failure,
    serving,
)
from tests.stored_comparison import save_comparison

PRICES = """
currency: EUR
models:
  judge-1: {input_per_million_tokens: 100, output_per_million_tokens: 0}
"""


def judging(asked: Asked) -> Reply:
    text = asked.body["messages"][1]["content"]
    if "<first-" in text:
        return chat_reply('{"winner": "first", "reason": "it came first"}')
    return chat_reply("hm" if "maybe" in text else '{"score": 4, "reason": "kind"}')


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ScriptedServer]:
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    monkeypatch.setenv("TUNINGFORK_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("TUNINGFORK_PRICES", raising=False)
    save_comparison(tmp_path / "c")
    with serving(judging) as running:
        yield running


def judge(server: ScriptedServer, tmp_path: Path, *options: str | Path) -> Completed:
    base = ("--api-model", "judge-1", "--api-base", server.base_url, "--api-key-env", KEY_VARIABLE)
    return invoke(tmp_path, "judge", "c", *base, "--criterion", "Be [b]kind[/b].", *options)


def test_scores_are_a_table(server: ScriptedServer, tmp_path: Path) -> None:
    completed = judge(server, tmp_path)
    assert completed.code == 0, completed.stderr
    lines = completed.stdout.splitlines()
    assert lines[0] == "Criterion Be [b]kind[/b]."
    assert lines[1].startswith("Judge     judge-1 at 127.0.0.1:")
    assert lines[3].split() == [
        "answers",
        "mean",
        "score",
        "95",
        "%",
        "interval",
        "scored",
        "no",
        "judgement",
    ]
    assert lines[4].split()[:3] == ["text", "prompt", "4.00"]
    assert lines[4].split()[-2:] == ["2", "1"]
    assert lines[5].split()[-2:] == ["3", "0"]
    assert lines[-2] == "Calls     6, and 1 from the cache"
    (written,) = (tmp_path / "c").glob("judgements-*.json")
    assert lines[-1] == f"Saved     c/{written.name}"
    assert "Whether the judge is right was not tested" in completed.stdout
    assert max(map(len, lines)) <= 80
    assert KEY not in completed.stdout


def test_pairs_tell_of_the_bias_for_a_place(server: ScriptedServer, tmp_path: Path) -> None:
    completed = judge(server, tmp_path, "--pairwise", "prompt tuning", "text prompt")
    said = " ".join(completed.stdout.split())
    assert "prompt tuning won 0, text prompt won 0, 3 ties, 0 without a judgement." in said
    assert "the judge said otherwise on 2 of 2 pairs (100 %, 95 % interval 34 to 100 %)" in said
    assert "It chose the first place both times on 2, the second on 0." in said


def test_json_holds_everything(server: ScriptedServer, tmp_path: Path) -> None:
    completed = judge(
        server, tmp_path, "--json", "--limit", "2", "--answers", "prompt tuning", "--scale", "0-4"
    )
    found = json.loads(completed.stdout)
    assert (tmp_path / found["path"]).is_file()
    assert [row["score"] for row in found["record"]["rows"]] == [4, 4]
    assert found["record"]["scale"] == [0, 4]


def test_a_dry_run_says_what_it_would_cost(
    server: ScriptedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(KEY_VARIABLE)
    completed = judge(server, tmp_path, "--dry-run")
    lines = completed.stdout.splitlines()
    assert lines[0] == "Answers   text prompt, prompt tuning: 3 rows each"
    assert lines[2].startswith("Calls     5; about ")
    assert lines[3:] == ["Price     unknown: no price for this model", "Nothing was asked (--dry-run)."]
    (tmp_path / "prices.yaml").write_text(PRICES, encoding="utf-8")
    priced = judge(server, tmp_path, "--dry-run", "--prices", "prices.yaml").stdout
    assert "Price     about 0." in priced
    assert " EUR\n" in priced
    plan = json.loads(judge(server, tmp_path, "--dry-run", "--json", "--prices", "prices.yaml").stdout)
    assert plan["calls"] == 5
    assert plan["money"] == pytest.approx(plan["input_tokens"] / 10_000)
    assert server.asked == []
    assert list((tmp_path / "c").glob("judgements-*")) == []


def test_money_is_told_and_limited(server: ScriptedServer, tmp_path: Path) -> None:
    (tmp_path / "prices.yaml").write_text(PRICES, encoding="utf-8")
    limited = ("--prices", "prices.yaml", "--limit", "2", "--max-money")
    assert "0.0021 EUR" in judge(server, tmp_path, *limited, "1").stdout
    completed = judge(server, tmp_path, *limited, "0", "--no-cache")
    assert completed.code == 1
    assert "the budget of 0 is spent" in completed.stderr
    completed = judge(server, tmp_path, "--max-money", "1", "--no-cache")
    assert completed.code == 1
    assert "needs the price of 'judge-1'" in completed.stderr


def test_people_can_say_whether_to_trust_it(server: ScriptedServer, tmp_path: Path) -> None:
    (tmp_path / "people.csv").write_text(
        "row,answer,score\n0,text prompt,4\n1,text prompt,1\n", encoding="utf-8"
    )
    completed = judge(server, tmp_path, "--human", "people.csv")
    assert "the judge and people agree on 50 % of 2 rows" in " ".join(completed.stdout.split())
    assert "was not tested" not in completed.stdout


def test_a_server_that_refuses_is_one_line_without_the_key(server: ScriptedServer, tmp_path: Path) -> None:
    server.answer = lambda _: failure(401, f"wrong key {KEY}")
    completed = judge(server, tmp_path)
    assert completed.code == 1
    assert completed.stderr.count("\n") == 1
    assert f"refused the key in {KEY_VARIABLE} (status 401): wrong key [key]" in completed.stderr
    assert KEY not in completed.stderr + completed.stdout
