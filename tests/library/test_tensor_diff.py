"""Numbers are held to NumPy in double precision."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.library.artefact_bytes import drawn, prefix, saved, saved_adapter, saved_vectors
from tuningfork.library.tensor_diff import diff_adapters, diff_soft_prompts, matrix_change, token_group
from tuningfork.models.artefacts import (
    DecomposedPrompt,
    EncoderDecoderPrompt,
    HeadedPrefix,
    HeadedPrompt,
    InputPrompt,
    InstancePrompt,
    PlacedPrompt,
)
from tuningfork.models.classification_head import ClassificationHead
from tuningfork.models.low_rank import LowRankUpdate

FILE = "prompt.safetensors"


def test_each_virtual_token_is_compared_with_the_one_at_its_place(tmp_path: Path) -> None:
    old, new = drawn(4, 8), drawn(4, 8, seed=1)
    found = diff_soft_prompts(FILE, saved_vectors(old, tmp_path), saved_vectors(new, tmp_path))
    (group,) = found.groups
    assert (found.file, found.notes, found.matrices, group.name) == (FILE, (), (), "virtual tokens")
    assert (group.only_before, group.only_after) == ((), ())
    before, after = (vectors.double().numpy() for vectors in (old, new))
    for index, token in enumerate(group.tokens):
        lengths = np.linalg.norm(before[index]), np.linalg.norm(after[index])
        assert token.index == index
        assert (token.norm_before, token.norm_after) == pytest.approx(lengths)
        assert token.cosine == pytest.approx(before[index] @ after[index] / (lengths[0] * lengths[1]))
        assert token.relative_change == pytest.approx(
            np.linalg.norm(after[index] - before[index]) / lengths[0]
        )
    whole = np.linalg.norm(before), np.linalg.norm(after)
    assert group.cosine == pytest.approx((before * after).sum() / (whole[0] * whole[1]))
    assert group.relative_change == pytest.approx(np.linalg.norm(after - before) / whole[0])


def test_other_lengths_are_compared_as_far_as_both_go(tmp_path: Path) -> None:
    longer = drawn(5, 8)
    shorter = longer[:3].clone()
    grown = diff_soft_prompts(FILE, saved_vectors(shorter, tmp_path), saved_vectors(longer, tmp_path))
    (group,) = grown.groups
    assert [token.cosine for token in group.tokens] == pytest.approx([1, 1, 1])
    assert [token.relative_change for token in group.tokens] == [0, 0, 0]
    assert (group.only_before, len(group.only_after)) == ((), 2)
    assert group.only_after == pytest.approx(tuple(longer[3:].norm(dim=1).tolist()))
    shrunk = diff_soft_prompts(FILE, saved_vectors(longer, tmp_path), saved_vectors(shorter, tmp_path))
    assert (shrunk.groups[0].only_before, shrunk.groups[0].only_after) == (group.only_after, ())


def test_what_was_zero_has_no_direction() -> None:
    group = token_group("virtual tokens", torch.zeros(1, 3), torch.ones(1, 3))
    assert (group.tokens[0].cosine, group.tokens[0].relative_change) == (None, None)
    assert (group.cosine, group.relative_change) == (None, None)
    assert group.tokens[0].norm_after == pytest.approx(3**0.5)


def test_vectors_of_other_models_are_not_compared(tmp_path: Path) -> None:
    found = diff_soft_prompts(
        FILE, saved_vectors(drawn(2, 8), tmp_path), saved_vectors(drawn(3, 6), tmp_path)
    )
    (group,) = found.groups
    assert found.notes == ("virtual tokens: vectors of 6 and 8 numbers",)
    assert (group.tokens, len(group.only_before), len(group.only_after)) == ((), 2, 3)


def test_prefixes_are_compared_layer_by_layer_and_over_all_heads(tmp_path: Path) -> None:
    old, new = prefix(3), prefix(3, seed=7, position=4)
    found = diff_soft_prompts(FILE, saved(old, tmp_path), saved(new, tmp_path))
    assert [group.name for group in found.groups] == ["layer 1 keys", "layer 1 values"]
    assert found.notes == (
        "keys are rotated from position 4, were from 0: those of a token differ by that too",
    )
    for group, side in zip(found.groups, (0, 1), strict=True):
        before, after = (one.layers[1][side].double().numpy() for one in (old, new))  # type: ignore[index]
        for index, token in enumerate(group.tokens):
            ours, theirs = after[:, index].ravel(), before[:, index].ravel()
            expected = ours @ theirs / (np.linalg.norm(ours) * np.linalg.norm(theirs))
            assert token.cosine == pytest.approx(expected)


def test_kinds_that_do_not_correspond_are_named(tmp_path: Path) -> None:
    found = diff_soft_prompts(FILE, saved_vectors(drawn(3, 8), tmp_path), saved(prefix(3), tmp_path))
    assert found.groups == ()
    assert found.notes[0].startswith("was virtual tokens in front, is a key-value prefix: no virtual token")


def test_a_file_that_is_no_soft_prompt_is_said_so(tmp_path: Path) -> None:
    found = diff_soft_prompts(FILE, b"tensors", saved_vectors(drawn(1, 2), tmp_path))
    assert "cannot be compared (truncated or not a safetensors file" in found.notes[0]
    assert str(tmp_path.parent) not in found.notes[0]
    assert "/tmp" not in found.notes[0]


def test_heads_words_and_sides_are_compared_too(tmp_path: Path) -> None:
    head = ClassificationHead(drawn(2, 8), drawn(2))
    bent = ClassificationHead(2 * head.weight, head.bias)
    headed = HeadedPrompt(InputPrompt(drawn(3, 8)), head)
    other = replace(headed, head=bent)
    weight, bias = diff_soft_prompts(FILE, saved(headed, tmp_path), saved(other, tmp_path)).matrices
    assert [weight.name, bias.name] == ["head's weight", "head's bias"]
    assert (weight.relative_change, weight.cosine) == pytest.approx((1, 1))
    assert weight.norm_before == pytest.approx(float(head.weight.norm()))
    assert bias.relative_change == pytest.approx(0, abs=1e-7)
    placed, moved = PlacedPrompt(drawn(2, 8), (5, -1, -2)), PlacedPrompt(drawn(2, 8), (-1, 5, -2))
    (note,) = diff_soft_prompts(FILE, saved(placed, tmp_path), saved(moved, tmp_path)).notes
    assert "the places of these, are others" in note
    sided = EncoderDecoderPrompt(placed, HeadedPrefix(prefix(2), head))
    both = EncoderDecoderPrompt(moved, HeadedPrefix(prefix(2), bent))
    found = diff_soft_prompts(FILE, saved(sided, tmp_path), saved(both, tmp_path))
    assert [group.name for group in found.groups] == [
        "encoder's virtual tokens", "decoder's layer 1 keys", "decoder's layer 1 values",
    ]  # fmt: skip
    assert [matrix.name for matrix in found.matrices] == ["decoder's head's weight", "decoder's head's bias"]
    assert found.matrices[0].relative_change == pytest.approx(1)
    assert found.notes == ("the words that the encoder reads in front are others",)


def test_products_count_not_their_factors(tmp_path: Path) -> None:
    down, up = drawn(6, 2), drawn(2, 8, seed=1)
    old = DecomposedPrompt(drawn(3, 8), down, up)
    same = DecomposedPrompt(drawn(3, 8), down * 3, up / 3)
    (unchanged,) = diff_soft_prompts(FILE, saved(old, tmp_path), saved(same, tmp_path)).matrices
    assert unchanged.relative_change == pytest.approx(0, abs=1e-6)
    other = DecomposedPrompt(drawn(3, 8), drawn(6, 2, seed=3), up)
    (found,) = diff_soft_prompts(FILE, saved(old, tmp_path), saved(other, tmp_path)).matrices
    before, after = (prompt.offsets.double().numpy() for prompt in (old, other))
    assert found.relative_change == pytest.approx(
        np.linalg.norm(after - before) / np.linalg.norm(before), rel=1e-5
    )


def test_prompts_that_depend_on_the_row(tmp_path: Path) -> None:
    parts = {"front": drawn(2, 4), "shift": drawn(3, 4), "down": drawn(8, 2), "up": drawn(2, 12),
             "mean": drawn(8), "scale": drawn(8).abs() + 1}  # fmt: skip
    old = InstancePrompt(**parts, layers_read=(0, 1))
    new = InstancePrompt(**parts | {"scale": parts["scale"] / 2, "mean": -parts["mean"]}, layers_read=(0, 2))
    found = diff_soft_prompts(FILE, saved(old, tmp_path), saved(new, tmp_path))
    assert [group.relative_change for group in found.groups] == [0, 0]
    assert [matrix.relative_change for matrix in found.matrices] == pytest.approx([1, 2])
    assert found.notes == ("features are read after layers 0, 2, were after 0, 1",)


def test_adapters_are_compared_by_what_they_add_to_weights(tmp_path: Path) -> None:
    old = LowRankUpdate({"a": (drawn(2, 9), drawn(7, 2, seed=1)), "gone": (drawn(2, 4), drawn(4, 2))}, 0.5)
    new = LowRankUpdate(
        {"a": (drawn(3, 9, seed=2), drawn(7, 3, seed=3)), "new": (drawn(3, 4), drawn(4, 3))}, 2.0
    )
    found = diff_adapters("adapter", saved_adapter(old, tmp_path), saved_adapter(new, tmp_path))
    assert found.notes == ("rank 2 became 3",)
    by_name = {matrix.name: matrix for matrix in found.matrices}
    before, after = ((update.scale * update.pairs["a"][1] @ update.pairs["a"][0]).double().numpy()
                     for update in (old, new))  # fmt: skip
    both = by_name["a"]
    lengths = np.linalg.norm(before), np.linalg.norm(after)
    assert (both.norm_before, both.norm_after) == pytest.approx(lengths, rel=1e-5)
    assert both.cosine == pytest.approx((before * after).sum() / (lengths[0] * lengths[1]), rel=1e-4)
    assert both.relative_change == pytest.approx(np.linalg.norm(after - before) / lengths[0], rel=1e-5)
    assert (by_name["gone"].norm_after, by_name["new"].norm_before) == (None, None)
    assert by_name["gone"].norm_before == pytest.approx(
        np.linalg.norm((0.5 * old.pairs["gone"][1] @ old.pairs["gone"][0]).numpy()), rel=1e-5
    )
    broken = diff_adapters("adapter", (b"{}", b""), saved_adapter(new, tmp_path))
    assert broken.notes[0].startswith("cannot be compared (adapter_config.json: peft_type must be LORA")


def test_layers_of_other_shapes_have_norms_alone() -> None:
    change = matrix_change("a", (drawn(4, 2), drawn(2, 3)), (drawn(5, 2), drawn(2, 3)))
    assert (change.cosine, change.relative_change) == (None, None)
    assert change.norm_before == pytest.approx(float((drawn(4, 2) @ drawn(2, 3)).norm()))
