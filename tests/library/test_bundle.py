import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from tests.library.exchange.bundles import (
    DATASET,
    KEYS,
    NAME,
    TASK,
    forge,
    key_in,
    register,
    rows,
    tensors,
)
from tuningfork.errors import AccessError, FormatError, GateError, LibraryError
from tuningfork.library import schema
from tuningfork.library.access import Action, RoleAccess
from tuningfork.library.aliases import MoveRequest
from tuningfork.library.bundle import export_bundle, import_bundle
from tuningfork.library.canonical import canonical_json, hash_bytes, hash_value
from tuningfork.library.chain import event_hash, events
from tuningfork.library.database import reading
from tuningfork.library.exchange.keys import PublicKey, SigningKey
from tuningfork.library.store import Library


def story(library: Library) -> list[str]:
    with reading(library.engine) as connection:
        return [event.kind for event in events(connection)]


def rewritten(path: Path, key: SigningKey, **changes: Any) -> None:
    """Change the only version of a bundle, and sign what came of it with `key`."""
    with zipfile.ZipFile(path) as archive:
        found = json.loads(archive.read("manifest.json"))
        objects = {
            name.rpartition("/")[2]: archive.read(name) for name in archive.namelist() if "objects/" in name
        }
    objects |= changes.pop("objects")
    found["versions"][0] |= changes
    version = found["versions"][0]
    needed = {*version["content"]["files"].values(), *(each["sha256"] for each in version["evidence"])}
    needed |= {each["sha256"] for each in found["datasets"]}
    objects = {name: content for name, content in objects.items() if name in needed}
    found["objects"] = {name: len(content) for name, content in objects.items()}
    manifest = canonical_json(found).encode()
    forge(path, manifest, key.sign(b"tuningfork bundle 1\n" + manifest), objects)


def test_versions_arrive_whole_under_new_numbers(
    origin: Library, library: Library, keys: tuple[SigningKey, PublicKey], path: Path
) -> None:
    key, public = keys
    library.trust(public, actor="root")
    register(library, 9.0)
    export_bundle(origin, [f"{NAME}@2", f"{NAME}@1"], path, actor="ann", key=key)
    report = import_bundle(library, path, actor="carl")
    assert [(done.version.reference, done.origin, done.is_new) for done in report.versions] == [
        (f"{NAME}@2", f"{NAME}@1", True),
        (f"{NAME}@3", f"{NAME}@2", True),
    ]
    assert (report.signer, report.key, report.library) == (
        "Shop team",
        public.text,
        rows(origin, schema.event)[0].hash,
    )
    theirs, ours = origin.get(f"{NAME}@2"), library.get(f"{NAME}@3")
    assert ours.content == theirs.content
    assert ours.content_hash == theirs.content_hash
    assert dict(library.files(ours)) == {"prompt.safetensors": tensors(2.0), "task.yaml": TASK}
    assert ours.lineage.model_copy(update={"imported": None}) == theirs.lineage
    imported = ours.lineage.imported
    assert imported is not None
    assert imported.model_dump() == {
        "kind": "bundle", "place": report.library, "reference": f"{NAME}@2",
        "content_hash": theirs.content_hash, "signer": "Shop team", "key": public.text, "notes": (),
    }  # fmt: skip
    assert (ours.parent, ours.note, ours.author) == (2, "first", "carl")
    assert ours.aliases == ()


def test_the_events_of_the_origin_come_along_with_their_hashes(
    origin: Library, library: Library, keys: tuple[SigningKey, PublicKey], path: Path
) -> None:
    key, public = keys
    export_bundle(origin, [f"{NAME}@2"], path, actor="ann", key=key)
    import_bundle(library, path, actor="carl", also_trusted=public)
    assert story(library) == [
        "version registered",
        "dataset added",
        "evidence recorded",
        "version imported",
    ]
    with reading(library.engine) as connection:
        (event,) = events(connection, kind="version imported")
    assert event.payload["is_signed"] is True
    assert event.payload["author"] == "ann"
    brought = event.payload["events"]
    assert [each["kind"] for each in brought] == ["version registered", "evidence recorded", "alias moved"]
    hashes = {row.hash for row in rows(origin, schema.event)}
    assert all(event_hash(each) == each["hash"] in hashes for each in brought)


def test_the_same_versions_give_the_same_bytes(
    origin: Library, keys: tuple[SigningKey, PublicKey], path: Path
) -> None:
    export_bundle(origin, [f"{NAME}@2", f"{NAME}@1"], path, actor="ann", key=keys[0])
    first = path.read_bytes()
    export_bundle(origin, [f"{NAME}@1", f"{NAME}@staging", f"{NAME}@2"], path, actor="ann", key=keys[0])
    assert path.read_bytes() == first
    # Evidence on the same rows, and files that versions share, are there once.
    assert first.count(KEYS) == 1
    assert first.count(TASK) == 1


def test_without_trust_or_signature_nothing_comes_in_unless_it_is_asked_for(
    origin: Library, library: Library, keys: tuple[SigningKey, PublicKey], path: Path, tmp_path: Path
) -> None:
    key, public = keys
    export_bundle(origin, [f"{NAME}@1"], path, actor="ann", key=key, signer="Ann")
    with pytest.raises(LibraryError, match=r"signed by 'Ann' with ed25519:.*is not trusted here"):
        import_bundle(library, path, actor="carl")
    library.trust(public, actor="root")
    library.end_trust(public, actor="root")
    with pytest.raises(LibraryError, match="is not trusted here"):
        import_bundle(library, path, actor="carl")
    with pytest.raises(LibraryError, match="is not trusted here"):
        import_bundle(library, path, actor="carl", also_trusted=key_in(tmp_path, "other")[1])
    export_bundle(origin, [f"{NAME}@1"], path, actor="ann", key=None)
    with pytest.raises(LibraryError, match="nobody signed this bundle"):
        import_bundle(library, path, actor="carl", also_trusted=public)
    assert rows(library, schema.version) == []
    (done,) = import_bundle(library, path, actor="carl", allows_unsigned=True).versions
    assert done.version.lineage.imported is not None
    assert (done.version.lineage.imported.signer, done.version.lineage.imported.key) == ("", "")
    with reading(library.engine) as connection:
        (event,) = events(connection, kind="version imported")
    assert event.payload["is_signed"] is False


def test_a_dry_run_says_what_would_come_and_writes_nothing(
    origin: Library, library: Library, keys: tuple[SigningKey, PublicKey], path: Path
) -> None:
    key, public = keys
    export_bundle(origin, [f"{NAME}@2"], path, actor="ann", key=key)
    report = import_bundle(library, path, actor="carl", also_trusted=public, only_checks=True)
    assert report.versions[0].version.reference == f"{NAME}@1"
    assert report.versions[0].is_new
    for table in (schema.version, schema.prompt, schema.event, schema.artifact, schema.evidence):
        assert rows(library, table) == []
    assert list(library.artifacts.hashes()) == []


class _Refusing(RoleAccess):
    def __init__(self, refused: Action, place: str) -> None:
        self.refused = (refused, place)

    def check(self, connection: Connection, actor: str, action: Action, name: str) -> None:
        if (action, name) == self.refused:
            raise AccessError(f"{actor} may not {action} {name}")


def test_rights_are_asked_for(
    origin: Library, library: Library, keys: tuple[SigningKey, PublicKey], path: Path
) -> None:
    key, public = keys
    origin.access = _Refusing("read", NAME)
    with pytest.raises(AccessError, match="may not read"):
        export_bundle(origin, [f"{NAME}@1"], path, actor="ann", key=key)
    origin.access = RoleAccess()
    export_bundle(origin, [f"{NAME}@1"], path, actor="ann", key=key)
    library.access = _Refusing("administer", "")
    for asked in ({"also_trusted": public}, {"allows_unsigned": True}):
        with pytest.raises(AccessError, match="may not administer"):
            import_bundle(library, path, actor="carl", **asked)
    with pytest.raises(AccessError, match="may not administer"):
        library.trust(public, actor="carl")
    with pytest.raises(AccessError, match="may not administer"):
        library.end_trust(public, actor="carl")
    library.access = _Refusing("register", "elsewhere")
    with pytest.raises(AccessError, match="may not register elsewhere"):
        import_bundle(library, path, actor="carl", name="elsewhere", also_trusted=public)
    assert rows(library, schema.version) == []


def test_what_cannot_be_exported_is_told(
    origin: Library, keys: tuple[SigningKey, PublicKey], path: Path
) -> None:
    with pytest.raises(LibraryError, match="name the versions to export"):
        export_bundle(origin, [], path, actor="ann", key=None)
    with pytest.raises(LibraryError, match="its versions are 1 to 2"):
        export_bundle(origin, [f"{NAME}@7"], path, actor="ann", key=None)
    origin.revoke(f"{NAME}@1", actor="ann", reason="wrong")
    with pytest.raises(LibraryError, match=rf"{NAME}@1: was revoked"):
        export_bundle(origin, [f"{NAME}@1"], path, actor="ann", key=keys[0])
    (stored,) = [h for h in origin.get(f"{NAME}@2").content.files.items() if h[0].endswith("tensors")]
    origin.artifacts.remove(stored[1])
    with pytest.raises(LibraryError, match=r"artifact .* cannot be read"):
        export_bundle(origin, [f"{NAME}@2"], path, actor="ann", key=keys[0])
    assert not path.exists()


def test_several_prompts_cannot_have_one_name(
    origin: Library, library: Library, keys: tuple[SigningKey, PublicKey], path: Path
) -> None:
    register(origin, name="words")
    export_bundle(origin, [f"{NAME}@1", "words@1"], path, actor="ann", key=keys[0])
    with pytest.raises(FormatError, match="it holds several prompts"):
        import_bundle(library, path, actor="carl", also_trusted=keys[1], name="one")
    with pytest.raises(FormatError, match="a prompt's name has small letters"):
        import_bundle(library, path, actor="carl", also_trusted=keys[1], name="../x")
    report = import_bundle(library, path, actor="carl", also_trusted=keys[1])
    assert [done.version.reference for done in report.versions] == [f"{NAME}@1", "words@1"]


CODE = b"import os"


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("content hash", r"tickets@1: its content is not the one that its hash names"),
        ("words", r"tickets@1: the text prompt is no template that is read here"),
        ("code", r"tickets@1: 'setup\.py': no file of a prompt"),
        ("pickle", r"prompt\.safetensors: not a file of safetensors"),
        ("event", r"tickets@1: event 1 of its history was changed"),
        ("event of another", r"tickets@1: event 1 of its history was changed, or is another's"),
        ("evidence", r"evidence, line 1"),
        ("evidence of another", r"tickets@2: evidence .* is about something else than is stated"),
        ("evidence otherwise written", r"is not written as evidence is"),
        ("name", r"a prompt's name has small letters"),
        ("path", r"its manifest is wrong: '\.\./\.\./outside\.json'"),
    ],
)
def test_what_a_trusted_signer_should_not_have_signed_is_refused_too(
    origin: Library, tmp_path: Path, keys: tuple[SigningKey, PublicKey], path: Path, fault: str, reason: str
) -> None:
    key, public = keys
    number = 2 if fault.startswith("evidence") else 1
    manifest = export_bundle(origin, [f"{NAME}@{number}"], path, actor="ann", key=key)
    version = manifest.model_dump(mode="json")["versions"][0]
    content, files = version["content"], version["content"]["files"]
    objects: dict[str, bytes] = {}
    match fault:
        case "content hash":
            version["content_hash"] = "0" * 64
        case "words":
            content["text"] = "{% for x in y %}{{ x.__class__ }}"
        case "code":
            objects = {hash_bytes(CODE): CODE}
            files["setup.py"] = hash_bytes(CODE)
        case "pickle":
            objects = {hash_bytes(CODE): CODE}
            files["adapter/prompt.safetensors"] = hash_bytes(CODE)
        case "event":
            version["events"][0]["actor"] = "eve"
        case "event of another":
            event = version["events"][0]
            event["payload"] = event["payload"].replace('"number":1', '"number":2')
            event["hash"] = event_hash(event)
        case "evidence":
            version["evidence"][0]["sha256"] = hash_bytes(CODE)
            objects = {hash_bytes(CODE): CODE}
        case "evidence of another":
            version["evidence"][0]["kind"] = "guard"
        case "evidence otherwise written":
            held = origin.artifacts.get(version["evidence"][0]["sha256"])[:-1]
            version["evidence"][0]["sha256"] = hash_bytes(held)
            objects = {hash_bytes(held): held}
        case "name":
            version["prompt"] = "../up"
        case "path":
            files["../../outside.json"] = files["task.yaml"]
    if fault != "content hash":
        version["content_hash"] = hash_value(content)
    rewritten(path, key, **version, objects=objects)
    with Library(tmp_path / "target") as target:
        with pytest.raises(FormatError, match=reason):
            import_bundle(target, path, actor="carl", also_trusted=public)
        assert rows(target, schema.version) == []
        assert list(target.artifacts.hashes()) == []


def test_gates_decide_as_ever(
    origin: Library, library: Library, keys: tuple[SigningKey, PublicKey], path: Path
) -> None:
    export_bundle(origin, [f"{NAME}@2"], path, actor="ann", key=keys[0])
    import_bundle(library, path, actor="carl", also_trusted=keys[1])
    library.set_policy(NAME, "production", {"evaluated": {"min_rows": 20}}, actor="carl")
    move = MoveRequest(NAME, "production", 1, "carl")
    with pytest.raises(GateError, match=r"evaluated: .*froz"):
        library.move_alias(move)
    library.freeze_dataset(DATASET, actor="carl")
    assert library.move_alias(move).moved
    assert library.get(NAME).content_hash == origin.get(f"{NAME}@2").content_hash
