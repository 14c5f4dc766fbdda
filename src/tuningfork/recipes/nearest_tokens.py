"""Which words of the base model's vocabulary virtual tokens point at, before and after."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from tuningfork.errors import LibraryError, ModelError
from tuningfork.library.contents import VersionRecord
from tuningfork.library.differences import ArtefactDiff, NearestToken, TokenGroup, VersionDiff
from tuningfork.library.store import Library
from tuningfork.library.tensor_diff import virtual_tokens
from tuningfork.models.frozen import FrozenModel
from tuningfork.models.loading import load_model
from tuningfork.models.nearest import nearest_tokens


def with_nearest_tokens(
    library: Library, difference: VersionDiff, *, model: str | None = None, device: str = "auto"
) -> VersionDiff:
    """`difference` with the token nearest to each virtual token that both versions have.

    The base model is loaded only if there is such a virtual token; `model` says where it lies now, if it has
    moved.

    Raises:
        LibraryError: if the versions were tuned for different base models, or a file is missing or damaged.
        ModelError: if the base model cannot be loaded, or is another one.
    """
    before, after = library.get(difference.before), library.get(difference.after)
    naming = _Naming(library, before, after, lambda: _base_of(before, after, model, device))
    artefacts = tuple(naming.named(artefact) for artefact in difference.artefacts)
    return difference.model_copy(update={"artefacts": artefacts})


@dataclass(slots=True)
class _Naming:
    library: Library
    before: VersionRecord
    after: VersionRecord
    load: Callable[[], FrozenModel]
    model: FrozenModel | None = None

    def named(self, artefact: ArtefactDiff) -> ArtefactDiff:
        if not any(group.tokens for group in artefact.groups):
            return artefact
        contents = [version.content.files[artefact.file] for version in (self.before, self.after)]
        old, new = (virtual_tokens(self.library.artifacts.get(sha256)) for sha256 in contents)
        groups = [
            self._named_group(group, old[group.name], new[group.name])
            if group.tokens and group.name in old and group.name in new
            else group
            for group in artefact.groups
        ]
        return artefact.model_copy(update={"groups": tuple(groups)})

    def _named_group(self, group: TokenGroup, old: Tensor, new: Tensor) -> TokenGroup:
        before, after = (self._nearest(vectors[: len(group.tokens)]) for vectors in (old, new))
        tokens = [
            token.model_copy(
                update={"nearest_before": before[token.index], "nearest_after": after[token.index]}
            )
            for token in group.tokens
        ]
        return group.model_copy(update={"tokens": tuple(tokens)})

    def _nearest(self, vectors: Tensor) -> list[NearestToken]:
        self.model = model = self.model or self.load()
        found = nearest_tokens(model.network, vectors)
        return [
            NearestToken(text=str(model.tokenizer.decode([token])), cosine=cosine)
            for ((token, cosine),) in found
        ]


def _base_of(before: VersionRecord, after: VersionRecord, name: str | None, device: str) -> FrozenModel:
    """The one base model of both.

    Raises:
        LibraryError: if they have two.
        ModelError: if it cannot be loaded, or is another one.
    """
    old, new = before.lineage, after.lineage
    if (old.base_weights, old.base_tokenizer) != (new.base_weights, new.base_tokenizer):
        raise LibraryError(
            f"{before.reference} and {after.reference} were tuned for different base models: their virtual "
            "tokens have no vocabulary in common; leave out --nearest"
        )
    base = load_model(name or new.base_model, device=device)
    found = base.identity()
    if (found.weights, found.tokenizer) != (new.base_weights, new.base_tokenizer):
        raise ModelError(
            f"{base.name}: not the base model that {after.reference} was tuned for; name the right one with "
            "--model"
        )
    return base
