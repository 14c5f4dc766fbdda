"""New soft prompts made of finished ones, without training."""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor

from tuningfork.errors import PromptError
from tuningfork.models.artefacts import (
    AdaptedPrompt,
    DecomposedPrompt,
    EncoderDecoderPrompt,
    HeadedPrefix,
    HeadedPrompt,
    InputPrompt,
    InstancePrompt,
    KeyValuePrefix,
    PlacedPrompt,
    SoftPrompt,
)
from tuningfork.models.frozen import FrozenModel
from tuningfork.models.rotation import moved

_KINDS: dict[type, str] = {
    InputPrompt: "virtual tokens in front",
    KeyValuePrefix: "a key-value prefix",
    HeadedPrefix: "a key-value prefix with a head",
    InstancePrompt: "a prompt that depends on the row",
    PlacedPrompt: "virtual tokens among the words",
    DecomposedPrompt: "virtual tokens with offsets of the row",
    HeadedPrompt: "virtual tokens with a head",
    EncoderDecoderPrompt: "a prompt of both sides of an encoder-decoder",
    AdaptedPrompt: "a prompt with an adapter",
}
_ADAPTED = "its adapter changes the network for it alone"
_TWO_SIDED = "it stands in front of an encoder and of a decoder"
_NOT_JOINED: dict[type, str] = {
    HeadedPrefix: "its head was learned for what one prompt makes of a row",
    InstancePrompt: "what it adds to a row was learned for what its own front makes of the row",
    PlacedPrompt: "its places are those of one prompt template",
    HeadedPrompt: "its head was learned for what one prompt makes of a row",
    EncoderDecoderPrompt: _TWO_SIDED,
    AdaptedPrompt: _ADAPTED,
}
_NOT_AVERAGED: dict[type, str] = {
    HeadedPrefix: "its head was learned for what one prompt makes of a row",
    InstancePrompt: "it is a product of matrices, the mean of which is not that of factors",
    DecomposedPrompt: "its offsets are a product of matrices, the mean of which is not that of factors",
    HeadedPrompt: "its head was learned for what one prompt makes of a row",
    EncoderDecoderPrompt: _TWO_SIDED,
    AdaptedPrompt: _ADAPTED,
}


@torch.no_grad()
def concatenate(model: FrozenModel, prompts: Sequence[SoftPrompt]) -> SoftPrompt:
    """One prompt that stands for `prompts` one behind the other.

    Virtual tokens in front are joined as they are, and one of them may have offsets of the row, which count
    from the row's own first token. Behind a key-value prefix they become keys and values, which the model
    makes of them there. A key-value prefix behind another prompt is moved to its place where keys turn with
    their position (see `rotation`); it was made without the prompt before it, and stays so.

    Raises:
        PromptError: if there are fewer than two prompts, their widths differ, one of them cannot be joined,
            or a key-value prefix cannot be moved.
    """
    _check(prompts, _NOT_JOINED, "concatenated")
    if any(isinstance(prompt, KeyValuePrefix) for prompt in prompts):
        return _joined_key_values(model, prompts)
    fronts = [cast(InputPrompt | DecomposedPrompt, prompt).embeddings for prompt in prompts]
    _check_equal([front.shape[1] for front in fronts], "widths")
    joined = torch.cat([front.detach().float() for front in fronts])
    offsets = [prompt for prompt in prompts if isinstance(prompt, DecomposedPrompt)]
    if len(offsets) > 1:
        raise PromptError(
            f"{len(offsets)} of the prompts have offsets of the row, which would be added to the same "
            "tokens; at most one can be concatenated"
        )
    return DecomposedPrompt(joined, offsets[0].down, offsets[0].up) if offsets else InputPrompt(joined)


def average(prompts: Sequence[SoftPrompt], weights: Sequence[float] | None = None) -> SoftPrompt:
    """The mean of `prompts` of one kind and shape; `weights` are shares, divided by their sum.

    Means of prompts that were tuned from the same start are what Wortsman et al. 2022, "Model soups:
    averaging weights of multiple fine-tuned models improves accuracy without increasing inference time",
    arXiv 2203.05482, section 2, do with whole networks; prompts with other starts need not have anything
    useful between them.

    Raises:
        PromptError: if there are fewer than two prompts, their kinds or shapes differ, one of them cannot be
            averaged, or the weights are not one for each, at least 0 and not all 0.
    """
    _check(prompts, _NOT_AVERAGED, "averaged")
    kinds = {type(prompt) for prompt in prompts}
    if len(kinds) > 1:
        named = " and ".join(sorted(_KINDS[kind] for kind in kinds))
        raise PromptError(f"only prompts of one kind can be averaged; found {named}")
    _check_equal([tuple(map(_shape, prompt.tensors())) for prompt in prompts], "shapes")
    shares = _shares(weights, len(prompts))
    means = [
        torch.einsum("k,k...->...", shares, torch.stack([t.detach().double().cpu() for t in tensors])).float()
        for tensors in zip(*(prompt.tensors() for prompt in prompts), strict=True)
    ]
    match first := prompts[0]:
        case KeyValuePrefix():
            return _averaged_key_values(cast(Sequence[KeyValuePrefix], prompts), means)
        case PlacedPrompt(prefix_ids=ids):
            _check_equal([cast(PlacedPrompt, prompt).prefix_ids for prompt in prompts], "places in front")
            return PlacedPrompt(means[0], ids)
        case _:
            assert isinstance(first, InputPrompt)
            return InputPrompt(means[0])


def _joined_key_values(model: FrozenModel, prompts: Sequence[SoftPrompt]) -> KeyValuePrefix:
    """Keys and values of prompts of which at least one is a key-value prefix."""
    if model.support.path != "shared":
        raise PromptError(
            f"{model.name} makes no keys and values of virtual tokens apart from its rows "
            f"({model.support.reason}), so a key-value prefix cannot be concatenated"
        )
    joined: KeyValuePrefix | None = None
    for prompt in prompts:
        if isinstance(prompt, KeyValuePrefix):
            if None in prompt.layers:
                raise PromptError(
                    "a key-value prefix of the upper layers only cannot be concatenated: the layers below "
                    "would see the others and not it"
                )
            if joined is None:
                model.prefix([prompt])  # Says what does not fit.
                joined = prompt
                continue
            behind = moved(model, prompt, joined.num_virtual_tokens)
            joined = KeyValuePrefix(
                tuple(
                    (torch.cat([ours[0], theirs[0]], dim=1), torch.cat([ours[1], theirs[1]], dim=1))
                    for ours, theirs in zip(_whole(joined), _whole(behind), strict=True)
                )
            )
        elif isinstance(prompt, InputPrompt):
            read = model.prefix([prompt] if joined is None else [joined, prompt]).layers
            joined = KeyValuePrefix(
                tuple((pair[0][0].float().cpu(), pair[1][0].float().cpu()) for pair in read if pair)
            )
        else:
            raise PromptError(f"{_KINDS[type(prompt)]} cannot be concatenated with a key-value prefix")
    assert joined is not None
    return joined


def _whole(prefix: KeyValuePrefix) -> list[tuple[Tensor, Tensor]]:
    return [(pair[0].float().cpu(), pair[1].float().cpu()) for pair in prefix.layers if pair is not None]


def _averaged_key_values(prompts: Sequence[KeyValuePrefix], means: Sequence[Tensor]) -> KeyValuePrefix:
    first = prompts[0]
    _check_equal([tuple(pair is None for pair in prompt.layers) for prompt in prompts], "layers")
    _check_equal([prompt.position for prompt in prompts], "positions")
    pairs = iter(zip(means[::2], means[1::2], strict=True))
    return KeyValuePrefix(
        tuple(None if pair is None else next(pairs) for pair in first.layers), first.position
    )


def _check(prompts: Sequence[SoftPrompt], refused: dict[type, str], done: str) -> None:
    if len(prompts) < 2:
        raise PromptError(f"at least two prompts are {done}, found {len(prompts)}")
    for prompt in prompts:
        if reason := refused.get(type(prompt)):
            raise PromptError(f"{_KINDS[type(prompt)]} cannot be {done}: {reason}")


def _check_equal(found: Sequence[object], what: str) -> None:
    if any(each != found[0] for each in found):
        described = ", ".join(dict.fromkeys(_described(each) for each in found))
        raise PromptError(f"the prompts need equal {what}, found {described}")


def _described(found: object) -> str:
    """`found`, without repeating what is the same in every layer."""
    if isinstance(found, tuple) and len(set(found)) < len(found) > 3:
        return f"{len(found)} of {', '.join(dict.fromkeys(map(str, found)))}"
    return str(found)


def _shape(tensor: Tensor) -> tuple[int, ...]:
    return tuple(tensor.shape)


def _shares(weights: Sequence[float] | None, count: int) -> Tensor:
    given = torch.tensor([1.0] * count if weights is None else list(weights), dtype=torch.float64)
    if len(given) != count:
        raise PromptError(f"{count} prompts need a weight each, found {len(given)}")
    if not given.isfinite().all() or (given < 0).any() or given.sum() <= 0:
        raise PromptError(f"weights must be at least 0 and not all 0, found {given.tolist()}")
    return given / given.sum()
