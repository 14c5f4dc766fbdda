"""Langfuse's prompts, text and chat, over its public API v2 (`/api/public/v2/prompts`).

The keys of a project are read from the environment variables that Langfuse's own clients read.
"""

import os
from collections.abc import Mapping
from typing import Any

from tuningfork.errors import FormatError, LibraryError, RemoteError
from tuningfork.library.contents import ImportOrigin
from tuningfork.library.exchange.braces import ForeignWords, read_chat, read_text, write_chat, write_text
from tuningfork.library.exchange.registry import (
    LATEST,
    Pulled,
    Push,
    Pushed,
    check_known,
    readable_tags,
    text_field,
)
from tuningfork.library.exchange.server import Server, escaped

PUBLIC_VARIABLE, SECRET_VARIABLE = "LANGFUSE_PUBLIC_KEY", "LANGFUSE_SECRET_KEY"

_API = "/api/public/v2/prompts"
_OWN = "tuningfork"
"""Entry of a version's `config` that says where it is from."""
_REFERS = "@@@langfusePrompt:"
_LONGEST_MESSAGE = 500


class LangfuseRegistry:
    """Prompts of a project on a Langfuse server.

    Raises:
        RemoteError: the address is none, or the environment holds no keys.
    """

    kind = "langfuse"

    def __init__(self, address: str, *, allows_insecure: bool = False) -> None:
        keys = [os.environ.get(name, "").strip() for name in (PUBLIC_VARIABLE, SECRET_VARIABLE)]
        if not all(keys):
            raise RemoteError(
                f"Langfuse needs the keys of a project in the environment variables {PUBLIC_VARIABLE} and "
                f"{SECRET_VARIABLE}; set both"
            )
        self._server = Server(address, login=(keys[0], keys[1]), allows_insecure=allows_insecure)

    @property
    def place(self) -> str:
        """The address of the server."""
        return self._server.address

    def close(self) -> None:
        """Let go of the connection."""
        self._server.close()

    def pull(self, name: str, which: str, *, as_text: bool = False) -> Pulled:
        """The version `which` of the prompt `name`: a number, a label, or `latest`.

        Raises:
            RemoteError: if the server cannot be asked.
            LibraryError: if there is none.
            FormatError: if it is no prompt that can be read here.
        """
        found = self._find(name, which)
        if found is None:
            raise LibraryError(f"{name}: there is no version {which} of it on {self._server.host}")
        number = _number(found)
        reference = f"{name}/{number}"
        try:
            words = _words(found, as_text=as_text)
        except FormatError as error:
            raise FormatError(f"{reference}: {error}") from error
        tags, lost = readable_tags((tag, "") for tag in _texts(found, "tags"))
        config = found.get("config")
        has_config = isinstance(config, dict) and bool(set(config) - {_OWN})
        lost += ("its config was left out",) if has_config else ()
        return Pulled(
            name=name,
            version=number,
            words=words,
            origin=ImportOrigin(
                kind=self.kind,
                place=self._server.address,
                reference=reference,
                content_hash=_hash(found),
                notes=(*words.notes, *lost),
            ),
            message=text_field(found, "commitMessage"),
            aliases=tuple(sorted(set(_texts(found, "labels")) - {LATEST})),
            tags=tags,
        )

    def numbers(self, name: str) -> list[int]:
        """The versions that there are, the oldest first.

        Raises:
            RemoteError: if the server cannot be asked.
            LibraryError: if there is no such prompt.
        """
        answered = self._server.get(_API, {"name": name, "limit": 1})
        data = answered.get("data") or [{}]
        first = data[0] if isinstance(data, list) else None
        listed = first.get("versions", []) if isinstance(first, dict) else None
        if not isinstance(listed, list) or not all(isinstance(number, int) for number in listed):
            raise FormatError(f"{name}: the answer has no list of versions; is this a Langfuse server?")
        if not listed:
            raise LibraryError(f"{name}: there is no such prompt on {self._server.host}")
        return sorted(listed)

    def push(self, push: Push, *, dry_run: bool = False) -> Pushed:
        """Add a version, unless the newest one is the same; in a dry run, only say what would come of it.

        Instructions for conversations go as chat, everything else as text. Labels that are asked for move in
        the same call; a label that a project protects needs a key that may move it.

        Raises:
            RemoteError: if the server cannot be asked, or refuses it.
            ConflictError: if the newest version there is none that this library knows.
            FormatError: if it cannot be written there.
        """
        version = push.version
        kind, prompt = _written(push)
        newest = self._find(push.name, LATEST)
        if newest is not None:
            reference = f"{push.name}/{_number(newest)}"
            if newest.get("type", kind) != kind:
                raise FormatError(
                    f"{reference}: is of type {newest.get('type')}, and Langfuse takes no {kind} behind it; "
                    "give another name: --as NAME"
                )
            if (_hash(newest), _plain(newest.get("prompt"))) == (version.content_hash, prompt):
                if push.aliases and not dry_run:
                    self._label(push, newest)
                return Pushed(reference, is_new=False)
            check_known(push, reference, _hash(newest))
        if dry_run:
            return Pushed(f"{push.name}/{1 if newest is None else _number(newest) + 1}", is_new=True)
        contract = version.content.contract.model_dump(mode="json", exclude_defaults=True)
        own = {"content_hash": version.content_hash, "reference": version.reference, "contract": contract}
        body = {
            "type": kind,
            "name": push.name,
            "prompt": prompt,
            "config": {_OWN: own},
            "labels": list(push.aliases),
            "tags": list(push.tags),
            "commitMessage": version.note[:_LONGEST_MESSAGE] or None,
        }
        made = self._server.send("POST", _API, body)
        return Pushed(f"{push.name}/{_number(made)}", is_new=True)

    def _label(self, push: Push, found: Mapping[str, Any]) -> None:
        labels = sorted({*_texts(found, "labels"), *push.aliases} - {LATEST})
        path = f"{_API}/{escaped(push.name)}/versions/{_number(found)}"
        self._server.send("PATCH", path, {"newLabels": labels})

    def _find(self, name: str, which: str) -> dict[str, Any] | None:
        asked: dict[str, str | int] = {"version": int(which)} if which.isdecimal() else {"label": which}
        # Prompts that a prompt refers to are put in by the server, as its own clients have it.
        return self._server.find(f"{_API}/{escaped(name)}", asked)


def _words(found: Mapping[str, Any], *, as_text: bool) -> ForeignWords:
    prompt, kind = found.get("prompt"), found.get("type")
    if _REFERS in str(prompt):
        raise FormatError(
            "refers to another prompt that the server did not put in; put the words of that one in its place"
        )
    if kind == "chat":
        words = read_chat(prompt, as_text=as_text)
    elif isinstance(prompt, str):
        words = read_text(prompt, as_text=as_text)
    else:
        raise FormatError(f"is of type {kind!r:.20}, and only text and chat are known")
    if found.get("resolutionGraph"):
        note = "prompts that it refers to were put in as they are"
        return ForeignWords(words.template, (*words.notes, note))
    return words


def _written(push: Push) -> tuple[str, str | list[dict[str, str]]]:
    if push.version.content.contract.variables:
        return "text", write_text(push.version, registry="Langfuse")
    return "chat", write_chat(push.version, registry="Langfuse")


def _plain(prompt: object) -> object:
    """Messages as they were sent: the server adds a type to each."""
    if not isinstance(prompt, list):
        return prompt
    return [
        {key: value for key, value in message.items() if (key, value) != ("type", "chatmessage")}
        if isinstance(message, dict)
        else message
        for message in prompt
    ]


def _hash(found: Mapping[str, Any]) -> str:
    config = found.get("config")
    own = config.get(_OWN) if isinstance(config, dict) else None
    value = own.get("content_hash") if isinstance(own, dict) else None
    return value if isinstance(value, str) else ""


def _number(found: Mapping[str, Any]) -> int:
    number = found.get("version")
    if not isinstance(number, int) or isinstance(number, bool):
        raise FormatError(f"a version has a number, found {number!r:.40}; is this a Langfuse server?")
    return number


def _texts(found: Mapping[str, Any], name: str) -> list[str]:
    listed = found.get(name) or []
    if not isinstance(listed, list):
        raise FormatError(f"its {name} are no list")
    return [str(each) for each in listed]
