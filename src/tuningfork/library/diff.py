"""What two versions differ in: words, contract, lineage, config, files, figures, and learned numbers."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tuningfork.library.canonical import canonical_json
from tuningfork.library.contents import Figure, VersionRecord
from tuningfork.library.differences import (
    ArtefactDiff,
    FigureChange,
    FileChange,
    ValueChange,
    VersionDiff,
)
from tuningfork.library.gates.contract import broken_promises
from tuningfork.library.word_diff import word_diff

ReadFile = Callable[[str], bytes]
"""The bytes of a file by its SHA-256, checked."""

_SOFT_PROMPT = re.compile(r"prompt(-\d+)?\.safetensors")
_ADAPTER_WEIGHTS, _ADAPTER_SETTINGS = "adapter/adapter_model.safetensors", "adapter/adapter_config.json"


def diff_versions(
    before: VersionRecord,
    after: VersionRecord,
    *,
    sizes: Mapping[str, int],
    read: ReadFile,
) -> VersionDiff:
    """What `after` has other than `before`; they may be of different prompts.

    `sizes` are the bytes of the files of both, by hash. Files with learned numbers are read where they
    differ, and no others.

    Raises:
        LibraryError: if such a file is missing or was changed.
    """
    ours, theirs = after.content, before.content
    lineage_before, lineage_after = (
        v.lineage.model_dump(mode="json", exclude={"config", "figures"}) for v in (before, after)
    )
    contract_before, contract_after = (c.contract.model_dump(mode="json") for c in (theirs, ours))
    return VersionDiff(
        before=before.reference,
        after=after.reference,
        kind_before=theirs.kind,
        kind_after=ours.kind,
        same_content=before.content_hash == after.content_hash,
        words=word_diff(theirs.text, ours.text),
        contract=changed_values(contract_before, contract_after),
        breaks=tuple(broken_promises(ours.contract, theirs.contract)),
        lineage=changed_values(lineage_before, lineage_after),
        config=changed_values(before.lineage.config, after.lineage.config),
        files=changed_files(theirs.files, ours.files, sizes),
        figures=side_by_side(before.lineage.figures, after.lineage.figures),
        artefacts=tuple(_artefacts(before, after, read)),
    )


def changed_values(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[ValueChange, ...]:
    """Where two trees of JSON differ, in the order of their names; lists are compared whole."""
    return tuple(_changed_values(before, after, ()))


def changed_files(
    before: Mapping[str, str], after: Mapping[str, str], sizes: Mapping[str, int]
) -> tuple[FileChange, ...]:
    """Which files differ, by path; `before` and `after` are their hashes, `sizes` their bytes by hash."""
    return tuple(
        FileChange(
            path=path,
            change="added" if old is None else "removed" if new is None else "changed",
            before=old,
            after=new,
            before_bytes=None if old is None else sizes[old],
            after_bytes=None if new is None else sizes[new],
        )
        for path in sorted(before.keys() | after.keys())
        if (old := before.get(path)) != (new := after.get(path))
    )


def side_by_side(before: tuple[Figure, ...], after: tuple[Figure, ...]) -> tuple[FigureChange, ...]:
    """The figures of both by name, in the order of the second, then what only the first has."""
    old, new = ({figure.name: figure for figure in figures} for figures in (before, after))
    return tuple(
        FigureChange(name=name, before=old.get(name), after=new.get(name)) for name in {**new, **old}
    )


def _changed_values(
    before: Mapping[str, Any], after: Mapping[str, Any], path: tuple[str, ...]
) -> Iterator[ValueChange]:
    for name in sorted(before.keys() | after.keys()):
        inside = (*path, name)
        if name not in before:
            yield ValueChange(path=inside, change="added", after=after[name])
        elif name not in after:
            yield ValueChange(path=inside, change="removed", before=before[name])
        elif isinstance(before[name], Mapping) and isinstance(after[name], Mapping):
            yield from _changed_values(before[name], after[name], inside)
        # As JSON, since to Python 1 and true are equal.
        elif canonical_json(before[name]) != canonical_json(after[name]):
            yield ValueChange(path=inside, change="changed", before=before[name], after=after[name])


def _artefacts(before: VersionRecord, after: VersionRecord, read: ReadFile) -> Iterator[ArtefactDiff]:
    old, new = before.content.files, after.content.files
    changed = [path for path in sorted(old.keys() & new.keys()) if old[path] != new[path]]
    soft = [path for path in changed if _SOFT_PROMPT.fullmatch(path)]
    has_adapter = any(path in (_ADAPTER_WEIGHTS, _ADAPTER_SETTINGS) for path in changed)
    if not soft and not has_adapter:
        return
    # Only numbers need the library of tensors, which takes a second to load.
    from tuningfork.library.tensor_diff import diff_adapters, diff_soft_prompts

    weights = {before.lineage.base_weights, after.lineage.base_weights}
    caution = (
        ("tuned for different base models: what points the same way in both need not mean the same",)
        if len(weights) > 1
        else ()
    )
    for path in soft:
        found = diff_soft_prompts(path, read(old[path]), read(new[path]))
        yield found.model_copy(update={"notes": caution + found.notes})
    if has_adapter and all(_ADAPTER_SETTINGS in files and _ADAPTER_WEIGHTS in files for files in (old, new)):
        pairs = ((read(files[_ADAPTER_SETTINGS]), read(files[_ADAPTER_WEIGHTS])) for files in (old, new))
        found = diff_adapters(_ADAPTER_WEIGHTS, *pairs)
        yield found.model_copy(update={"notes": caution + found.notes})
