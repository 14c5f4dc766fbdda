import pytest

from tests.tiny_models import tiny_encoder, tiny_model
from tuningfork.errors import PromptError
from tuningfork.models.separate import SeparateRows
from tuningfork.models.side_by_side import SharedRows


@pytest.mark.parametrize(
    ("architecture", "kind", "scores_rows"),
    [("llama", SharedRows, True), ("mamba", SeparateRows, True), ("t5", SeparateRows, False)],
)
def test_rows_run_side_by_side_where_the_model_can(
    architecture: str, kind: type[SharedRows | SeparateRows], scores_rows: bool
) -> None:
    rows = tiny_model(architecture).running_rows()
    assert isinstance(rows, kind)
    assert (rows.num_rows, rows.scores_rows) == (0, scores_rows)


def test_a_token_takes_keys_and_values_in_every_layer() -> None:
    # 2 layers, keys and values, 2 heads of 8 numbers, 4 bytes each.
    assert tiny_model("llama").running_rows().bytes_per_token == 2 * 2 * 2 * 8 * 4
    assert tiny_model("mamba").running_rows().bytes_per_token == 0


def test_an_encoder_continues_nothing() -> None:
    with pytest.raises(PromptError, match="bert is an encoder, which fills in words and continues no text"):
        tiny_encoder("bert").running_rows()
