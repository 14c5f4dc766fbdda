"""What is in a library and what people say of it, as methods: lists, pages, tags, comments, owners."""

from sqlalchemy import Engine

from tuningfork.library import annotations
from tuningfork.library.access import Access, check_reading
from tuningfork.library.contents import Comment, Kind, PromptPage, PromptSummary, SearchPage, VersionRecord
from tuningfork.library.database import reading, writing
from tuningfork.library.listing import Filter, list_prompts, prompt_page
from tuningfork.library.naming import name_in
from tuningfork.library.search import search
from tuningfork.library.timeline import Tenure, timeline
from tuningfork.library.tree import VersionTree, version_tree
from tuningfork.library.versions import file_sizes, newest_like


class Catalogue:
    """The part of a library that finds prompts and describes them; versions and aliases are the store's."""

    engine: Engine
    access: Access

    def prompts(
        self, wanted: Filter | None = None, *, limit: int = 50, after: str | None = None
    ) -> list[PromptSummary]:
        """At most `limit` prompts in the order of their names, those behind the name `after`."""
        with reading(self.engine) as connection:
            return list_prompts(connection, wanted or Filter(), limit=limit, after=after)

    def search(
        self, words: str, wanted: Filter | None = None, *, limit: int = 50, after: str | None = None
    ) -> SearchPage:
        """Prompts that have words beginning with each of `words`, the best first, a page at a time.

        Raises:
            LibraryError: if `words` has none, or `after` is not the `next` of a page.
        """
        with reading(self.engine) as connection:
            return search(connection, words, wanted or Filter(), limit=limit, after=after)

    def page(self, name: str, *, limit: int = 20) -> PromptPage:
        """A prompt with its `limit` newest versions and comments.

        Raises:
            LibraryError: if there is no such prompt.
        """
        with reading(self.engine) as connection:
            check_reading(connection, self.access, name)
            return prompt_page(connection, name, limit=limit)

    def file_sizes(self, version: VersionRecord) -> dict[str, int]:
        """How many bytes each file of a version has, by its path."""
        with reading(self.engine) as connection:
            return file_sizes(connection, version)

    def tree(self, name: str) -> VersionTree:
        """How the versions of a prompt came one from another.

        Raises:
            LibraryError: if there is no such prompt.
        """
        with reading(self.engine) as connection:
            check_reading(connection, self.access, name)
            return version_tree(connection, name)

    def timeline(self, name: str) -> list[Tenure]:
        """Which version each alias of a prompt pointed to, from when to when.

        Raises:
            LibraryError: if there is no such prompt.
        """
        with reading(self.engine) as connection:
            check_reading(connection, self.access, name)
            return timeline(connection, name)

    def tag(self, target: str, *tags: str, actor: str) -> None:
        """Tag a prompt (`shop/reply`) or one version (`shop/reply@3`).

        Raises:
            LibraryError: if there is no such prompt or version, or a tag is none.
            AccessError: if the actor may not do this.
        """
        with writing(self.engine) as connection:
            self.access.check(connection, actor, "register", name_in(target))
            for tag in tags:
                annotations.add_tag(connection, target, tag)

    def untag(self, target: str, *tags: str, actor: str) -> None:
        """Take tags away from a prompt or one version.

        Raises:
            LibraryError: if there is no such prompt or version, or it does not have a tag.
            AccessError: if the actor may not do this.
        """
        with writing(self.engine) as connection:
            self.access.check(connection, actor, "register", name_in(target))
            for tag in tags:
                annotations.remove_tag(connection, target, tag)

    def comment(self, target: str, text: str, *, author: str) -> Comment:
        """Say something of a prompt or of one version, for good.

        Raises:
            LibraryError: if there is no such prompt or version, or nothing is said.
            AccessError: if the author may not read it.
        """
        with writing(self.engine) as connection:
            self.access.check(connection, author, "read", name_in(target))
            return annotations.add_comment(connection, target, text, author=author)

    def describe(
        self, name: str, *, actor: str, description: str | None = None, owner: str | None = None
    ) -> None:
        """Change the description of a prompt, or to whom it belongs; both are in the chain of events.

        Raises:
            LibraryError: if there is no such prompt.
            AccessError: if the actor may not do this.
        """
        with writing(self.engine) as connection:
            if description is not None:
                self.access.check(connection, actor, "register", name)
                annotations.change_description(connection, name, description, actor=actor)
            if owner is not None:
                self.access.check(connection, actor, "own", name)
                annotations.change_owner(connection, name, owner, actor=actor)

    def newest_like(
        self,
        name: str,
        *,
        kind: Kind | None = None,
        text: str | None = None,
        content_hash: str | None = None,
    ) -> int | None:
        """The number of the newest version of a prompt that is so; None if there is none, or no prompt.

        Raises:
            AccessError: if whoever acts may not register here.
        """
        with reading(self.engine) as connection:
            check_reading(connection, self.access, name, "register")
            return newest_like(connection, name, kind=kind, text=text, content_hash=content_hash)
