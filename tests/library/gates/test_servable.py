import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save

from tests.library.gates.moves import moving
from tests.library.prompts import LINEAGE, add, content_of
from tuningfork.errors import FormatError, LibraryError
from tuningfork.library.artefact_files import load_artefact, save_artefact
from tuningfork.library.canonical import hash_bytes
from tuningfork.library.contents import VersionRecord
from tuningfork.library.gates.gate import GateResult
from tuningfork.library.gates.servable import REFUSED, RUNS, ServableGate, kinds_of
from tuningfork.library.store import Library
from tuningfork.models.artefacts import InputPrompt, KeyValuePrefix

GATE = ServableGate()


def tensors(kind: str) -> bytes:
    return save({"embeddings": torch.zeros(2, 3)}, {"tuningfork.kind": kind})


def version_of(
    library: Library, described: dict[str, Any], *, path: str = "shared", **files: bytes
) -> VersionRecord:
    named = {name.replace("__", "-") + ".safetensors": content for name, content in files.items()}
    found = {
        "run.json": json.dumps({"model": {"path": path}}).encode(),
        "prompt.json": json.dumps({"num_tokens": 4} | described).encode(),
    } | named
    content = content_of(files={name: hash_bytes(found[name]) for name in found})
    return library.register("shop/tickets", content, found, LINEAGE, author="ann")


def judged(library: Library, version: VersionRecord, backend: str) -> GateResult:
    GATE.check_settings({"backend": backend})
    with moving(library, version) as move:
        return GATE.judge(move, {"backend": backend})


def test_every_kind_that_can_be_saved_is_known(tmp_path: Path) -> None:
    path = tmp_path / "prompt.safetensors"
    path.write_bytes(
        save(
            {"embeddings": torch.zeros(2, 3)}, {"tuningfork.kind": "magic", "tuningfork.format_version": "1"}
        )
    )
    with pytest.raises(FormatError) as told:
        load_artefact(path)
    saved = set(re.findall(r"'(\w+)'", str(told.value).partition("expected")[2]))
    assert len(saved) > 5
    for backend in RUNS:
        assert saved <= RUNS[backend] | REFUSED[backend].keys()
        assert not RUNS[backend] & REFUSED[backend].keys()


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("input_prompt", None),
        ("placed_prompt", None),
        ("key_value_prefix", "no keys and values for layers"),
        ("headed_prefix", "reads labels off a head"),
        ("instance_prompt", "changes with what the model reads in each row"),
        ("decomposed_prompt", "added to a row's own tokens"),
        ("encoder_decoder_prompt", "embeddings for decoders alone"),
        ("prompt_of_tomorrow", "unknown to this version of tuningfork"),
    ],
)
def test_what_vllm_cannot_run_is_refused_with_the_reason(
    library: Library, kind: str, reason: str | None
) -> None:
    version = version_of(library, {"kind": "soft"}, prompt=tensors(kind))
    result = judged(library, version, "vllm")
    assert result.passed == (reason is None)
    assert result.reason.startswith(f"vllm runs {kind}" if reason is None else f"vllm cannot run {kind}: ")
    assert (reason or "") in result.reason
    assert judged(library, version, "own").passed == (kind != "prompt_of_tomorrow")
    served = judged(library, version, "server")
    assert served.passed == (kind not in ("headed_prefix", "prompt_of_tomorrow"))
    assert served.passed or (reason or "") in served.reason


@pytest.mark.parametrize(
    ("prompt", "kinds", "passes"),
    [
        ({"kind": "text"}, ["text"], True),
        ({"kind": "text", "num_tokens": 0, "adapter": {"rank": 8}}, ["text", "adapter"], True),
        ({"kind": "soft", "num_tokens": 0, "adapter": {"rank": 8}}, ["placed_prompt", "adapter"], True),
        ({"kind": "soft", "adapter": {"rank": 8}}, ["placed_prompt", "soft and adapter"], False),
        ({"kind": "soft", "members": [{}, {}]}, ["placed_prompt", "ensemble"], False),
        ({"kind": "tag"}, ["tag"], False),
        ({"kind": "song"}, ["'song'"], False),
        ({}, ["None"], False),
    ],
)
def test_all_parts_count(library: Library, prompt: dict[str, Any], kinds: list[str], passes: bool) -> None:
    version = version_of(library, prompt, prompt=tensors("placed_prompt"))
    assert kinds_of(library.artifacts, version) == kinds
    assert judged(library, version, "vllm").passed == passes
    assert judged(library, version, "own").passed == (kinds[0] not in ("'song'", "None"))
    is_served = passes or "soft and adapter" in kinds
    assert judged(library, version, "server").passed == is_served


def test_every_prompt_of_an_ensemble_counts(library: Library) -> None:
    version = version_of(
        library,
        {"kind": "soft"},
        prompt=tensors("input_prompt"),
        prompt__2=tensors("instance_prompt"),
        other=tensors("headed_prefix"),
    )
    assert kinds_of(library.artifacts, version) == ["input_prompt", "instance_prompt"]


def test_files_of_prompts_say_what_they_are(library: Library, tmp_path: Path) -> None:
    layer = (torch.zeros(1, 2, 3), torch.zeros(1, 2, 3))
    for prompt, kind in (
        (InputPrompt(torch.zeros(2, 3)), "input_prompt"),
        (KeyValuePrefix((None, layer)), "key_value_prefix"),
    ):
        save_artefact(prompt, tmp_path / "prompt.safetensors", {})
        content = (tmp_path / "prompt.safetensors").read_bytes()
        assert kinds_of(library.artifacts, version_of(library, {"kind": "soft"}, prompt=content)) == [kind]


@pytest.mark.parametrize("path", ["encoder", "encoder-decoder"])
def test_a_base_that_is_no_decoder_is_refused(library: Library, path: str) -> None:
    version = version_of(library, {"kind": "text"}, path=path)
    assert f"its base is no decoder but {path}" in judged(library, version, "vllm").reason
    assert judged(library, version, "own").passed
    assert judged(library, version, "server").passed == (path == "encoder-decoder")


@pytest.mark.parametrize("content", [b"", b"12345678", b"\xff" * 40, b"\x02" + b"\0" * 7 + b"[]", b"\0" * 9])
def test_a_file_that_does_not_say_is_no_kind(library: Library, content: bytes) -> None:
    version = version_of(library, {"kind": "soft"}, prompt=content)
    with pytest.raises(LibraryError, match=r"prompt\.safetensors does not say what kind it is"):
        judged(library, version, "own")


def test_without_the_files_that_a_run_has_nothing_runs_it(library: Library) -> None:
    result = judged(library, add(library), "own")
    assert not result.passed
    assert "it has no run.json and no prompt.json" in result.reason
    with pytest.raises(LibraryError, match="though it is soft"):
        judged(library, version_of(library, {"kind": "soft"}), "own")
