from pathlib import Path

import pytest

from tests.library.exchange.bundles import key_in
from tuningfork.errors import LibraryError
from tuningfork.library.chain import broken_links, events
from tuningfork.library.database import reading
from tuningfork.library.exchange.keys import PublicKey
from tuningfork.library.store import Library


def kinds(library: Library) -> list[str]:
    with reading(library.engine) as connection:
        assert broken_links(connection) == []
        return [event.kind for event in events(connection)]


def test_trust_begins_changes_its_name_and_ends_and_events_say_so(library: Library, tmp_path: Path) -> None:
    _, ann = key_in(tmp_path, "ann", "Ann")
    _, bob = key_in(tmp_path, "bob", "Bob")
    assert library.trusted_keys() == []
    library.trust(bob, actor="root")
    library.trust(ann, actor="root")
    library.trust(ann, actor="root")
    assert library.trusted_keys() == [ann, bob]
    library.trust(PublicKey(ann.text, "Zoe"), actor="root")
    assert [key.name for key in library.trusted_keys()] == ["Bob", "Zoe"]
    library.end_trust(PublicKey(ann.text), actor="root")
    assert library.trusted_keys() == [bob]
    assert kinds(library) == ["key trusted"] * 3 + ["key no longer trusted"]
    library.trust(ann, actor="root")
    assert library.trusted_keys() == [ann, bob]


def test_a_key_has_a_name_and_only_one_that_is_trusted_can_lose_that(
    library: Library, tmp_path: Path
) -> None:
    _, key = key_in(tmp_path, signer="")
    with pytest.raises(LibraryError, match="whose key is it"):
        library.trust(key, actor="root")
    with pytest.raises(LibraryError, match="is not trusted here"):
        library.end_trust(key, actor="root")
    assert kinds(library) == []
