from pathlib import Path

import pytest

from tools.pretrain import config as configs
from tuningfork.errors import TaskError

ROOT = Path(__file__).parents[3]
SHIPPED = sorted((ROOT / "tools" / "pretrain" / "config").glob("*.yaml"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_shipped_configs_load_and_keep_all_examples_out(path: Path) -> None:
    config = configs.load(path)
    examples = {p.relative_to(ROOT) for p in (ROOT / "examples").glob("*/*.jsonl")}
    assert examples <= set(config.kept_out)
    longest = max(config.prepare.lengths)
    assert longest <= config.model.max_position_embeddings or config.start is not None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("corpus: a\nprepare: {families: {poems: {share: 1}}}", "no family is called 'poems'"),
        (
            "corpus: a\nprepare: {families: {text: {share: 0}}}",
            "prepare.families.text.share: Input should be",
        ),
        (
            "corpus: a\nspeed: 3\nprepare: {families: {text: {share: 1}}}",
            "speed: Extra inputs are not permitted",
        ),
        ("corpus: [", "not YAML"),
    ],
)
def test_a_wrong_config_is_one_line(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(TaskError, match=message) as caught:
        configs.load(path)
    assert "\n" not in str(caught.value)


def test_a_missing_config_is_named(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="there is no such config"):
        configs.load(tmp_path / "none.yaml")
