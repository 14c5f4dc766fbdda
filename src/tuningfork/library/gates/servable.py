"""The gate `servable`: what answers behind the alias can run this kind of prompt."""

import json
import re
from collections.abc import Mapping
from typing import Any

from tuningfork.errors import LibraryError
from tuningfork.library.artifacts import ArtifactStore
from tuningfork.library.contents import VersionRecord
from tuningfork.library.gates.gate import GateResult, Move, Settings
from tuningfork.library.gates.settings import Setting, check_settings, choice

OWN, SERVER, VLLM = "own", "server", "vllm"
_RUN, _PROMPT = "run.json", "prompt.json"
_TENSORS = re.compile(r"prompt(-\d+)?\.safetensors")
_KIND = "tuningfork.kind"
_LARGEST_HEADER = 2**24

_NOT_RUN_ON: Mapping[str, tuple[str, ...]] = {
    OWN: (),
    SERVER: ("encoder",),
    VLLM: ("encoder", "encoder-decoder"),
}
"""Kinds of base models that a backend does not answer with."""

WORDS, ADAPTER, SOFT_ADAPTER = "text", "adapter", "soft and adapter"
ENSEMBLE, TAG = "ensemble", "tag"
_SEVERAL = "several prompts answer together, and a request has one"
_HEAD = "it reads labels off a head instead of saying them"
_KEYS = "a request brings embeddings of tokens, and no keys and values for layers"

REFUSED: Mapping[str, Mapping[str, str]] = {
    OWN: {},
    SERVER: {
        "headed_prefix": _HEAD,
        "headed_input_prompt": _HEAD,
        "headed_placed_prompt": _HEAD,
        ENSEMBLE: _SEVERAL,
        TAG: "it runs no model",
    },
    VLLM: {
        "key_value_prefix": _KEYS,
        "headed_prefix": _HEAD,
        "headed_input_prompt": _HEAD,
        "headed_placed_prompt": _HEAD,
        "instance_prompt": "it changes with what the model reads in each row, which nothing tells it there",
        "decomposed_prompt": "it is added to a row's own tokens, which vLLM looks up itself",
        "encoder_decoder_prompt": "it takes embeddings for decoders alone",
        SOFT_ADAPTER: "virtual tokens and an adapter in one request were never shown to agree with ours",
        ENSEMBLE: _SEVERAL,
        TAG: "it runs no model",
    },
}
"""What a backend cannot run, and why; kinds are those of `library.artefact_files`, or named here."""
RUNS: Mapping[str, frozenset[str]] = {
    OWN: frozenset({WORDS, ADAPTER, "input_prompt", "placed_prompt", *REFUSED[VLLM]}),
    SERVER: frozenset(
        {WORDS, ADAPTER, "input_prompt", "placed_prompt", *REFUSED[VLLM]} - REFUSED[SERVER].keys()
    ),
    VLLM: frozenset({WORDS, ADAPTER, "input_prompt", "placed_prompt"}),
}
"""What each backend can run; what is in neither is unknown, and refused."""


class ServableGate:
    """The backend can run every part of the prompt; a kind that it does not know is refused."""

    name = "servable"
    known_settings: Mapping[str, Setting] = {
        "backend": choice(
            "what answers: all of this project (default), tuningfork serve, or vLLM", OWN, SERVER, VLLM
        )
    }

    def check_settings(self, settings: Settings) -> None:
        """Check them against `known_settings`.

        Raises:
            LibraryError: if a setting is unknown or impossible.
        """
        check_settings(self.name, settings, self.known_settings)

    def judge(self, move: Move, settings: Settings) -> GateResult:
        """Look at the files of the version."""
        backend = settings.get("backend", OWN)
        version = move.candidate
        missing = [name for name in (_RUN, _PROMPT) if name not in version.content.files]
        if missing:
            reason = (
                f"it has no {' and no '.join(missing)}, so nothing can run it; register a run or a task file "
                "with: tuningfork library register SOURCE"
            )
            return GateResult(self.name, False, reason)
        for kind in kinds_of(move.artifacts, version):
            if kind not in RUNS[backend]:
                why = REFUSED[backend].get(kind, "it is unknown to this version of tuningfork")
                return GateResult(self.name, False, f"{backend} cannot run {kind}: {why}")
        model = _json(move.artifacts, version, _RUN).get("model")
        path = model.get("path", "") if isinstance(model, dict) else ""
        if path in _NOT_RUN_ON[backend]:
            return GateResult(self.name, False, f"{backend} cannot run it: its base is no decoder but {path}")
        shown = ", ".join(kinds_of(move.artifacts, version))
        return GateResult(self.name, True, f"{backend} runs {shown}")


def kinds_of(artifacts: ArtifactStore, version: VersionRecord) -> list[str]:
    """The kinds of prompt that a version is made of.

    Raises:
        LibraryError: if a file is missing or damaged, or does not say what it is.
    """
    record = _json(artifacts, version, _PROMPT)
    names = sorted(path for path in version.content.files if _TENSORS.fullmatch(path))
    has_adapter = record.get("adapter") is not None
    match record.get("kind"):
        case "text":
            found = [WORDS]
        case "soft":
            found = sorted({_tensor_kind(artifacts, version, path) for path in names})
            if not found:
                raise LibraryError(f"{version.reference}: it has no prompt.safetensors, though it is soft")
        case other:
            found = [TAG if other == TAG else f"{other!r:.40}"]
    if record.get("members"):
        found.append(ENSEMBLE)
    if has_adapter:
        found.append(SOFT_ADAPTER if record.get("num_tokens") else ADAPTER)
    return found


def _tensor_kind(artifacts: ArtifactStore, version: VersionRecord, path: str) -> str:
    """What the header of a safetensors file says it is; no tensor is read."""
    content = artifacts.get(version.content.files[path])
    length = int.from_bytes(content[:8], "little")
    try:
        if length > min(_LARGEST_HEADER, len(content) - 8):
            raise ValueError("its header is longer than the file")
        return str(json.loads(content[8 : 8 + length])["__metadata__"][_KIND])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise LibraryError(f"{version.reference}: {path} does not say what kind it is ({error})") from error


def _json(artifacts: ArtifactStore, version: VersionRecord, path: str) -> dict[str, Any]:
    try:
        found = json.loads(artifacts.get(version.content.files[path]))
    except (ValueError, KeyError, RecursionError) as error:
        raise LibraryError(f"{version.reference}: {path} cannot be read ({error})") from error
    if not isinstance(found, dict):
        raise LibraryError(f"{version.reference}: {path} is no record")
    return found
