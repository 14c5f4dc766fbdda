import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.tools.pretrain.tiny_corpus import KEPT_OUT
from tools.pretrain import packing
from tools.pretrain.check import findings
from tools.pretrain.config import Config, FamilyConfig
from tools.pretrain.mixture.conversation import assistant, user
from tools.pretrain.prepare import Preparation
from tuningfork.errors import DataError, RunError


def test_shards_are_the_same_when_one_is_made_again(config: Config, tmp_path: Path) -> None:
    name = Preparation(config).names()[-1]
    folder = tmp_path / "packed"
    shutil.copytree(config.work / "packed", folder)
    packing.tokens_path(folder, name).unlink()
    made = list(Preparation(config, folder).run())
    assert [line.split(":")[0] for line in made] == [name]
    for kind in (packing.tokens_path, packing.weights_path):
        assert np.array_equal(np.load(kind(folder, name)), np.load(kind(config.work / "packed", name)))


def test_more_tokens_keep_the_shards_and_another_config_is_refused(config: Config, tmp_path: Path) -> None:
    folder = tmp_path / "packed"
    shutil.copytree(config.work / "packed", folder)
    prepare = config.prepare.model_copy(update={"tokens": 40_960})
    assert len(list(Preparation(config.model_copy(update={"prepare": prepare}), folder).run())) <= 2
    other = config.prepare.model_copy(update={"families": {"tasks": FamilyConfig(share=1)}})
    with pytest.raises(RunError, match="holds sequences of another config"):
        list(Preparation(config.model_copy(update={"prepare": other}), folder).run())


def test_rows_kept_out_are_dropped_and_none_is_left(config: Config) -> None:
    preparation = Preparation(config)
    found = list(findings(preparation))
    assert len(found) == len(preparation.names()) + len(preparation.validation_names())
    assert sum(finding.num_conversations for finding in found) > 50
    assert not any(finding.num_overlapping for finding in found)


def test_a_row_kept_out_is_found_in_what_was_packed(config: Config, tmp_path: Path) -> None:
    folder = tmp_path / "packed"
    shutil.copytree(config.work / "packed", folder)
    preparation = Preparation(config, folder)
    planted = preparation.renderer.render((user(f"Message: {KEPT_OUT}"), assistant("x")), 128, 1.0, 0.3)
    assert planted is not None
    name = preparation.names()[0]
    packing.save(packing.stack(packing.pack([planted], 128, preparation.renderer.padding)), folder, name)
    assert {finding.name: finding.num_overlapping for finding in findings(preparation)}[name] == 1


def test_the_shares_of_the_families_are_kept(config: Config) -> None:
    families = {"chat": FamilyConfig(share=3), "one_job": FamilyConfig(share=1)}
    prepare = config.prepare.model_copy(update={"families": families, "lengths": {128: 1.0}})
    preparation = Preparation(config.model_copy(update={"prepare": prepare}), config.work / "other")
    list(preparation.run())
    tokens = preparation.tally.tokens
    assert tokens["chat"] / tokens.total() == pytest.approx(0.75, abs=0.03)


def test_a_missing_shard_is_named(config: Config, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the shard validation-128-"):
        list(findings(Preparation(config, tmp_path)))
