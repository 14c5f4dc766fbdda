"""Gradient checkpointing over a shared prefix: a layer keeps its input, and runs again in the backward pass.

transformers' own switch takes the cache away from the layers, and the prompt with it. Here each layer is
handed a cache of its own whenever it runs, so that nothing is appended twice, and the caller's cache is given
what the first run added.

Source: Chen, Xu, Zhang, Guestrin 2016, "Training Deep Nets with Sublinear Memory Cost", arXiv 1604.06174,
section 4. A segment is one layer here, and what enters it are hidden states, keys and values.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial, wraps
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import Cache, DynamicCache
from transformers.cache_utils import DynamicLayer

from tuningfork.models.prefix import KeyValues, new_cache

Forward = Callable[..., Any]
_OWN_CACHE = object()
"""Stands in a layer's arguments for the cache, which what is kept must not hold on to."""


@contextmanager
def recomputing(layers: nn.ModuleList) -> Iterator[None]:
    """Within this, what `layers` make with gradients on is made again when the gradient needs it.

    Results do not change. Layer i must keep its keys and values as layer i of the cache.
    """
    with ExitStack() as stack:
        for index, layer in enumerate(layers):
            stack.enter_context(_replacing_forward(layer, _recomputed(index, layer.forward)))
        yield


@contextmanager
def _replacing_forward(layer: nn.Module, forward: Forward) -> Iterator[None]:
    own = vars(layer)
    before = own.get("forward")
    own["forward"] = forward
    try:
        yield
    finally:
        if before is None:
            del own["forward"]
        else:
            own["forward"] = before


def _recomputed(index: int, forward: Forward) -> Forward:
    @wraps(forward)
    def run(*args: Any, **kwargs: Any) -> Any:
        if not torch.is_grad_enabled():
            return forward(*args, **kwargs)
        cache = next((value for value in (*args, *kwargs.values()) if isinstance(value, Cache)), None)
        if cache is None:
            return checkpoint(partial(forward, **kwargs), *args, use_reentrant=False)
        if not isinstance(cache, DynamicCache):
            return forward(*args, **kwargs)
        cache.layers += new_cache([None] * (index + 1 - len(cache.layers))).layers
        layer = cache.layers[index]
        # That is what `new_cache` makes; others may not keep every token.
        if not isinstance(layer, DynamicLayer) or type(layer) is not DynamicLayer:
            return forward(*args, **kwargs)
        held = (layer.keys, layer.values) if layer.is_initialized else (None, None)
        others = [_OWN_CACHE if value is cache else value for value in args]
        named = {name: _OWN_CACHE if value is cache else value for name, value in kwargs.items()}
        output, added = checkpoint(
            partial(_run_alone, forward, index, named), *held, *others, use_reentrant=False
        )
        if added is not None:
            cache.layers[index] = _JoiningLayer(*held, *added)
        return output

    return run


def _run_alone(
    forward: Forward,
    index: int,
    named: dict[str, Any],
    keys: Tensor | None,
    values: Tensor | None,
    *args: Any,
) -> tuple[Any, KeyValues | None]:
    """What a layer returns behind `keys` and `values`, and what it adds to them, in a cache of its own."""
    own, layer = new_cache([None] * index), _RecordingLayer(keys, values)
    own.layers.append(layer)
    output = forward(
        *(own if value is _OWN_CACHE else value for value in args),
        **{name: own if value is _OWN_CACHE else value for name, value in named.items()},
    )
    return output, layer.added


class _RecordingLayer(DynamicLayer):  # type: ignore[no-untyped-call]
    """Holds keys and values, and remembers what a run adds to them."""

    def __init__(self, keys: Tensor | None, values: Tensor | None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.added: KeyValues | None = None
        if keys is not None and values is not None:
            self.lazy_initialization(keys, values)
            self.keys, self.values = keys, values

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Append what a layer made of its tokens."""
        self.added = key_states, value_states
        return super().update(key_states, value_states, *args, **kwargs)


class _JoiningLayer(DynamicLayer):  # type: ignore[no-untyped-call]
    """Keys and values that are appended to those before them only when somebody reads on.

    Until then a prefix that is expanded over the batch as a view is not copied.
    """

    def __init__(self, keys: Tensor | None, values: Tensor | None, *added: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.lazy_initialization(*added)
        if keys is None or values is None:
            self.keys, self.values = added
        else:
            self._parts = (keys, added[0]), (values, added[1])
            del self.keys, self.values

    def __getattr__(self, name: str) -> Tensor:
        # Asked only for what is not there yet.
        if name not in ("keys", "values"):
            raise AttributeError(name)
        self.keys, self.values = (torch.cat(tensors, dim=-2) for tensors in self._parts)
        del self._parts
        return self.keys if name == "keys" else self.values
