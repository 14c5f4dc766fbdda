from pathlib import Path

import pytest
import torch

from tests.recipes.conftest import RecordingSink
from tuningfork.errors import ModelError
from tuningfork.library.run_folder import RunFolder
from tuningfork.library.run_records import TuneOptions
from tuningfork.recipes.base_model import load_base


def test_what_goes_on_keeps_its_number_format(
    finished: RunFolder, model_folder: Path, sink: RecordingSink
) -> None:
    options = TuneOptions(model=str(model_folder), dtype="float32")
    assert load_base(options, None, sink).dtype == torch.float32
    begun = finished.record
    begun = begun.model_copy(update={"model": begun.model.model_copy(update={"dtype": "bfloat16"})})
    assert load_base(options, begun, sink).dtype == torch.bfloat16


def test_a_model_that_is_not_there_is_told(tmp_path: Path, sink: RecordingSink) -> None:
    with pytest.raises(ModelError, match="nowhere"):
        load_base(TuneOptions(model=str(tmp_path / "nowhere")), None, sink)
