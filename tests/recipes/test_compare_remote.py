"""A model behind an API in a comparison, served from this machine."""

from pathlib import Path

import pytest

from tests.scripted_server import KEY, KEY_VARIABLE, Asked, Reply, chat_reply, serving
from tuningfork.library.comparison_folder import ComparisonFolder, ComparisonOptions, RemoteOptions
from tuningfork.library.run_records import TuneOptions
from tuningfork.models.frozen import FrozenModel
from tuningfork.recipes.compare import compare
from tuningfork.recipes.contestants.registry import contestants_of
from tuningfork.tasks.task import Task

PRICES = """\
currency: EUR
models:
  far-1:
    input_per_million_tokens: 1000
    output_per_million_tokens: 2000
"""


def says_refunds_are_billed(asked: Asked) -> Reply:
    return chat_reply("billing" if "refund" in asked.last_turn else "crash")


@pytest.fixture(autouse=True)
def _key_and_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    monkeypatch.setenv("TUNINGFORK_CACHE", str(tmp_path / "cache"))


def options_with(base_url: str, prices: Path) -> ComparisonOptions:
    return ComparisonOptions(
        tuning=TuneOptions(max_steps=2, num_seeds=1),
        contestants=("no_prompt",),
        remote=RemoteOptions(model="far-1", base_url=base_url, key_variable=KEY_VARIABLE),
        prices=str(prices),
    )


def test_it_takes_part_beside_the_text_prompt_and_has_its_price(
    tasks: dict[str, Task], model: FrozenModel, tmp_path: Path
) -> None:
    (tmp_path / "prices.yaml").write_text(PRICES)
    with serving(says_refunds_are_billed) as server:
        options = options_with(server.settings(tmp_path).base_url, tmp_path / "prices.yaml")
        folder = compare(tasks["classification"], options, runs_folder=tmp_path / "runs", model=model)
    record = folder.record
    assert [one.name for one in record.contestants] == ["no prompt", "text prompt", "far-1"]
    far = record.contestants[-1]
    assert (far.status, far.family) == ("measured", "remote")
    assert far.cost is not None
    # The server counts 7 tokens in and 3 out.
    assert far.cost.money_per_1000_calls == pytest.approx(1000 * (7 * 1000 + 3 * 2000) / 1e6)
    assert far.cost.currency == "EUR"
    assert any(each.candidate == "far-1" for each in record.differences)
    written = [path.read_bytes() for path in folder.path.rglob("*") if path.is_file()]
    assert not any(KEY.encode() in content for content in written)


def test_a_server_that_is_gone_fails_alone(
    tasks: dict[str, Task], model: FrozenModel, tmp_path: Path
) -> None:
    (tmp_path / "prices.yaml").write_text(PRICES)
    options = options_with("http://127.0.0.1:1/v1", tmp_path / "prices.yaml")
    contestants = contestants_of(options)
    far = contestants[-1]
    object.__setattr__(far._settings, "max_attempts", 1)  # type: ignore[attr-defined]
    folder: ComparisonFolder = compare(
        tasks["classification"], options, contestants=contestants, runs_folder=tmp_path / "runs", model=model
    )
    statuses = {one.name: one.status for one in folder.record.contestants}
    assert statuses == {"no prompt": "measured", "text prompt": "measured", "far-1": "failed"}


def test_without_an_address_it_stays_out() -> None:
    usual = contestants_of(ComparisonOptions(tuning=TuneOptions()))
    assert "remote" not in {one.family for one in usual}
