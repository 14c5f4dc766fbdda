from typing import Any

import pytest
import torch

from tests.tiny_models import ATTENDING, tiny_model
from tuningfork.models.packing import additive_mask, pack_stems

CHOICES = [[7, 8, 9], [7, 8, 10, 11], [12], [7, 13], [12, 14]]
ROWS = [[20, 21, 22, 23, 24], [25], [26, 27, 28]]


def test_a_stem_sees_the_prefix_its_row_and_itself() -> None:
    layout = pack_stems(torch.tensor([1, 2]), [[5, 6], [7]], num_past=1)
    assert layout.starts == (0, 2)
    assert layout.positions.tolist() == [[1, 2, 2, 3, 2], [1, 2, 3, 4, 3]]
    # Slots: prefix, two of the row, two of the first stem, one of the second.
    assert layout.is_visible[0].int().tolist() == [
        [1, 1, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0],
        [1, 1, 0, 1, 0, 0],
        [1, 1, 0, 1, 1, 0],
        [1, 1, 0, 0, 0, 1],
    ]
    assert layout.is_visible[1, 4].int().tolist() == [1, 1, 1, 0, 0, 1]


def test_the_mask_is_zero_where_visible() -> None:
    mask = additive_mask(torch.tensor([[[True, False]]]), torch.float32)
    assert mask.shape == (1, 1, 1, 2)
    assert mask[0, 0, 0].tolist() == [0.0, torch.finfo(torch.float32).min]


@pytest.mark.parametrize("architecture", ATTENDING)
def test_packed_scores_equal_those_of_copied_rows(architecture: str) -> None:
    model: Any = tiny_model(architecture)
    prefix = model.prefix([[3, 4, 5]])
    packed = model.choice_log_probabilities(ROWS, prefix, CHOICES)
    can_pack = model._path.packs_choices
    model._path.packs_choices = False
    copied = model.choice_log_probabilities(ROWS, prefix, CHOICES)
    model._path.packs_choices = can_pack
    torch.testing.assert_close(packed, copied, atol=1e-4, rtol=0)


def test_full_attention_is_packed_and_windows_are_not() -> None:
    assert tiny_model("llama")._path.packs_choices  # type: ignore[attr-defined]
    assert not tiny_model("mistral")._path.packs_choices  # type: ignore[attr-defined]


def test_a_stem_that_saw_its_neighbour_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    model: Any = tiny_model("llama")
    prefix = model.prefix([[3, 4, 5]])
    right = model.choice_log_probabilities(ROWS, prefix, CHOICES)

    def leaking(*arguments: Any, **named: Any) -> Any:
        layout = pack_stems(*arguments, **named)
        layout.is_visible[:, -1, -3:] = True
        return layout

    monkeypatch.setattr("tuningfork.models.shared.pack_stems", leaking)
    assert (model.choice_log_probabilities(ROWS, prefix, CHOICES) - right).abs().max() > 1e-2


def test_empty_slots_in_front_are_neither_seen_nor_counted() -> None:
    layout = pack_stems(torch.tensor([1, 1]), [[5]], num_past=3, padding=torch.tensor([2, 0]))
    assert layout.positions.tolist() == [[1, 2], [3, 4]]
    assert layout.is_visible[:, 1].tolist() == [[False, False, True, True, True], [True] * 5]
