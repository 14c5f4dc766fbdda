"""What a server answers as: the base model, runs by name, and the prompts of a library."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tuningfork.errors import LibraryError, ServingError
from tuningfork.library.naming import Reference, read_reference
from tuningfork.library.run_folder import RunFolder
from tuningfork.library.store import Library
from tuningfork.serving.library_prompts import LibraryPrompts
from tuningfork.serving.prompts import PromptLoader, ServedPrompt


class UnknownPromptError(ServingError):
    """Nothing of this name is served."""


@dataclass(frozen=True, slots=True)
class Listed:
    """An entry of the list of models."""

    name: str
    reference: str
    is_base: bool
    created: int


class Catalogue:
    """Everything that can be named in a request.

    Names of runs go before those of the library, and the base model's before both. All methods may be called
    from any thread; a served prompt, once returned, stays as it is.
    """

    def __init__(
        self,
        loader: PromptLoader,
        base_name: str,
        *,
        runs: Mapping[str, Path] | None = None,
        library: LibraryPrompts | None = None,
    ) -> None:
        """Serve the base model as `base_name`, and `runs`, folders by name, beside those of `library`.

        Raises:
            ServingError: a run cannot be served, or has the name of the base model.
            RunError: there is no such run, or it has chosen no prompt.
        """
        self._loader = loader
        self.base = loader.base(base_name)
        self.library = library
        self._folders: dict[str, Path] = {}
        self._runs: dict[str, ServedPrompt] = {}
        for name, folder in (runs or {}).items():
            self.load_run(name, folder)

    def load_run(self, name: str, folder: Path) -> ServedPrompt:
        """Serve the run in `folder` as `name` from now on, in place of what had this name.

        Raises:
            ServingError: it cannot be served, or the name is the base model's.
            RunError: there is no such run, or it has chosen no prompt.
        """
        if name == self.base.reference:
            raise ServingError(f"{name}: is what the base model is called; choose another name")
        made = self._loader.of_run(RunFolder.open(folder), name=name)
        self._folders[name], self._runs[name] = folder, made
        return made

    def unload_run(self, name: str) -> None:
        """Serve the run called `name` no longer; requests that began go on.

        Raises:
            UnknownPromptError: there is none.
        """
        if self._runs.pop(name, None) is None:
            raise UnknownPromptError(f"{name!r:.200}: no run of this name is served")
        self._folders.pop(name, None)

    def reload(self, name: str | None = None) -> list[str]:
        """Read one run, or all of them, again, and look up what the library's aliases name; say what changed.

        Raises:
            UnknownPromptError: there is no run called `name`.
            ServingError: a run cannot be served any more; it goes on as it was.
            RunError: as `ServingError`.
        """
        if name is not None and name not in self._folders:
            raise UnknownPromptError(f"{name!r:.200}: no run of this name is served")
        changed = []
        for run in [name] if name is not None else list(self._folders):
            before = self._runs[run]
            if self.load_run(run, self._folders[run]).loaded.key != before.loaded.key:
                changed.append(run)
        if name is None and self.library is not None:
            changed += [str(reference) for reference in self.library.follow(always=True)]
        return changed

    def known(self, name: str) -> ServedPrompt | None:
        """What `name` names as far as it is loaded; takes no time."""
        if name == self.base.reference:
            return self.base
        if (run := self._runs.get(name)) is not None:
            return run
        reference = self.reference_of(name)
        return None if reference is None or self.library is None else self.library.known(reference)

    def find(self, name: str) -> ServedPrompt:
        """What `name` names now, loaded if it was not.

        Raises:
            UnknownPromptError: nothing that is served has this name.
            ServingError: it cannot be served by this server.
        """
        if (known := self.known(name)) is not None:
            return known
        reference = self.reference_of(name)
        if reference is None or self.library is None:
            raise UnknownPromptError(f"{name!r:.200}: nothing of this name is served; see /v1/models")
        try:
            return self.library.find(reference)
        except LibraryError as error:
            raise UnknownPromptError(str(error)) from error

    def reference_of(self, name: str) -> Reference | None:
        """The version of the library that `name` means; None where it means a run, the base, or nothing."""
        if self.library is None or name == self.base.reference or name in self._runs:
            return None
        try:
            return read_reference(name)
        except LibraryError:
            return None

    def listed(self, view: Library | None = None, *, sees_all: bool = True) -> list[Listed]:
        """What can be asked for: all of it or, for a key, what its view of the library may read."""
        found = []
        if sees_all:
            found.append(Listed(self.base.reference, self.base.reference, True, self.base.created))
            found += [Listed(name, run.reference, False, run.created) for name, run in self._runs.items()]
        if self.library is not None:
            for name, reference in self.library.listed(view):
                known = self.known(name)
                found.append(Listed(name, reference, False, 0 if known is None else known.created))
        return found

    def close(self) -> None:
        """Let go of the library."""
        if self.library is not None:
            self.library.library.close()
