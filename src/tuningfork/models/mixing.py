"""Which rows may share a batch when each has a prompt of its own."""

from collections import defaultdict
from collections.abc import Hashable, Sequence

from tuningfork.models.batch import batches_by_length
from tuningfork.models.prefix import PrefixState


def mixed_batches(
    lengths: Sequence[int], prefixes: Sequence[PrefixState], batch_size: int
) -> list[tuple[list[int], Sequence[PrefixState]]]:
    """Indices of rows in batches of at most `batch_size`, and the prompts of each: one for all, or one a row.

    `prefixes` holds one state for all rows or one for each. Prompts of other lengths share no batch, which
    spares it a mask, nor do those with a head or an instance prompt, which are
    run for all of their rows at once.

    Raises:
        ValueError: if `batch_size` is below 1, or there are several prompts and not one for each row.
    """
    if len(prefixes) == 1:
        return [(indices, prefixes) for indices in batches_by_length(lengths, batch_size)]
    if len(prefixes) != len(lengths):
        raise ValueError(f"{len(lengths)} rows need 1 prefix or {len(lengths)}, found {len(prefixes)}")
    groups = defaultdict[Hashable, list[int]](list)
    for index, prefix in enumerate(prefixes):
        groups[_run_together(prefix)].append(index)
    batches: list[tuple[list[int], Sequence[PrefixState]]] = []
    for group in groups.values():
        for places in batches_by_length([lengths[index] for index in group], batch_size):
            indices = [group[place] for place in places]
            states = [prefixes[index] for index in indices]
            is_shared = all(state is states[0] for state in states)
            batches.append((indices, states[:1] if is_shared else states))
    return batches


def _run_together(prefix: PrefixState) -> Hashable:
    """Equal for prompts whose rows may share a batch."""
    is_alone = prefix.head is not None or prefix.instance is not None
    return prefix.num_tokens, prefix.empty, id(prefix.update), id(prefix) if is_alone else None
