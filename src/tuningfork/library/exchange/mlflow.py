"""MLflow's prompt registry, over its REST API 2.0 as MLflow 2.21 to 3.17 serve it.

A prompt is a registered model with the tag `mlflow.prompt.is_prompt`; a version keeps its words in the tag
`mlflow.prompt.text`. Nothing of MLflow is installed for this, and nothing is told to anybody else.
"""

import json
import os
import re
from collections.abc import Mapping
from typing import Any

from tuningfork.errors import FormatError, LibraryError
from tuningfork.library.contents import ImportOrigin
from tuningfork.library.exchange.braces import read_chat, read_text, write_text
from tuningfork.library.exchange.registry import (
    LATEST,
    Pulled,
    Push,
    Pushed,
    check_known,
    readable_tags,
    text_field,
)
from tuningfork.library.exchange.server import Server

TOKEN_VARIABLE, USER_VARIABLE, PASSWORD_VARIABLE = (
    "MLFLOW_TRACKING_TOKEN",
    "MLFLOW_TRACKING_USERNAME",
    "MLFLOW_TRACKING_PASSWORD",
)
"""Environment variables that hold what opens the server, as MLflow's own client reads them."""

_API = "/api/2.0/mlflow"
_IS_PROMPT, _TEXT, _TYPE = "mlflow.prompt.is_prompt", "mlflow.prompt.text", "_mlflow_prompt_type"
_SOURCE = "dummy-source"
"""Its server takes only this as where a prompt's version lies."""
_HASH_TAG, _REFERENCE_TAG, _CONTRACT_TAG = (
    "tuningfork.content_hash",
    "tuningfork.reference",
    "tuningfork.contract",
)
_OWN_TAGS = ("mlflow.", "_mlflow", "tuningfork.")
_NAME = re.compile(r"[a-zA-Z0-9_.-]+")
_LONGEST_TEXT = 100_000
_MOST_VERSIONS, _PAGE = 10_000, 200


class MlflowRegistry:
    """Prompts on an MLflow server.

    Raises:
        RemoteError: the address is none.
    """

    kind = "mlflow"

    def __init__(self, address: str, *, allows_insecure: bool = False) -> None:
        token, user = os.environ.get(TOKEN_VARIABLE), os.environ.get(USER_VARIABLE)
        self._server = Server(
            address,
            headers={"Authorization": f"Bearer {token}"} if token else None,
            login=(user, os.environ.get(PASSWORD_VARIABLE, "")) if user and not token else None,
            allows_insecure=allows_insecure,
        )

    @property
    def place(self) -> str:
        """The address of the server."""
        return self._server.address

    def close(self) -> None:
        """Let go of the connection."""
        self._server.close()

    def pull(self, name: str, which: str, *, as_text: bool = False) -> Pulled:
        """The version `which` of the prompt `name`: a number, an alias, or `latest`.

        Raises:
            RemoteError: if the server cannot be asked.
            LibraryError: if there is none.
            FormatError: if it is no prompt that can be read here.
        """
        model = self._prompt(name)
        number = self._number(name, model, which)
        found = self._version(name, number)
        tags = _tags(found)
        reference = f"{name}/{number}"
        text = tags.get(_TEXT)
        if _IS_PROMPT not in tags or text is None:
            raise FormatError(f"{reference}: holds no words; it is no version of a prompt")
        try:
            words = (
                read_chat(_json(text), as_text=as_text)
                if tags.get(_TYPE) == "chat"
                else read_text(text, as_text=as_text)
            )
        except FormatError as error:
            raise FormatError(f"{reference}: {error}") from error
        kept, lost = readable_tags(
            (key, value) for key, value in sorted(tags.items()) if not key.startswith(_OWN_TAGS)
        )
        return Pulled(
            name=name,
            version=number,
            words=words,
            origin=ImportOrigin(
                kind=self.kind,
                place=self._server.address,
                reference=reference,
                content_hash=tags.get(_HASH_TAG, ""),
                notes=(*words.notes, *lost),
            ),
            message=text_field(found, "description"),
            aliases=tuple(sorted(alias for alias, to in _aliases(model).items() if to == number)),
            tags=kept,
        )

    def numbers(self, name: str) -> list[int]:
        """The versions that there are, the oldest first.

        Raises:
            RemoteError: if the server cannot be asked.
            LibraryError: if there is no such prompt.
        """
        self._prompt(name)
        found: list[int] = []
        page = ""
        while len(found) < _MOST_VERSIONS:
            # Names are checked, so none can end the quotes.
            wanted = f"name='{name}' AND tags.`{_IS_PROMPT}` = 'true'"
            asked: dict[str, str | int] = {"filter": wanted, "max_results": _PAGE}
            asked |= {"page_token": page} if page else {}
            answered = self._server.get(f"{_API}/model-versions/search", asked)
            found += [_number(version) for version in _objects(answered, "model_versions")]
            page = str(answered.get("next_page_token") or "")
            if not page:
                break
        return sorted(found)

    def push(self, push: Push, *, dry_run: bool = False) -> Pushed:
        """Add a version, unless the newest one is the same; in a dry run, only say what would come of it.

        Raises:
            RemoteError: if the server cannot be asked, or refuses it.
            ConflictError: if the newest version there is none that this library knows.
            FormatError: if it cannot be written there.
        """
        _check_name(push.name)
        text = write_text(push.version, registry="MLflow", runs_jinja=True)
        if len(text) > _LONGEST_TEXT:
            raise FormatError(
                f"{push.version.reference}: MLflow keeps {_LONGEST_TEXT} characters at most, has {len(text)}"
            )
        model = self._model(push.name)
        newest = None if model is None else self._newest(push.name, model)
        if newest is not None:
            reference, tags = f"{push.name}/{_number(newest)}", _tags(newest)
            if (tags.get(_HASH_TAG), tags.get(_TEXT)) == (push.version.content_hash, text):
                if not dry_run:
                    self._point(push, _number(newest))
                return Pushed(reference, is_new=False)
            check_known(push, reference, tags.get(_HASH_TAG, ""))
        if dry_run:
            return Pushed(f"{push.name}/{1 if newest is None else _number(newest) + 1}", is_new=True)
        if model is None:
            self._server.send(
                "POST",
                f"{_API}/registered-models/create",
                {"name": push.name, "tags": _tag_list({_IS_PROMPT: "true"})},
            )
        made = self._server.send(
            "POST",
            f"{_API}/model-versions/create",
            {
                "name": push.name,
                "source": _SOURCE,
                "description": push.version.note,
                "tags": _tag_list(_version_tags(push, text)),
            },
        )
        number = _number(_object(made, "model_version"))
        self._point(push, number)
        return Pushed(f"{push.name}/{number}", is_new=True)

    def _point(self, push: Push, number: int) -> None:
        for alias in push.aliases:
            body = {"name": push.name, "alias": alias, "version": str(number)}
            self._server.send("POST", f"{_API}/registered-models/alias", body)

    def _model(self, name: str) -> dict[str, Any] | None:
        """What is registered under `name`, which must be a prompt if there is something."""
        _check_name(name)
        answered = self._server.find(f"{_API}/registered-models/get", {"name": name})
        if answered is None:
            return None
        model = _object(answered, "registered_model")
        if _IS_PROMPT not in _tags(model):
            raise FormatError(f"{name}: is a model on {self._server.host}, no prompt; choose another name")
        return model

    def _prompt(self, name: str) -> dict[str, Any]:
        model = self._model(name)
        if model is None:
            raise LibraryError(f"{name}: there is no such prompt on {self._server.host}")
        return model

    def _number(self, name: str, model: Mapping[str, Any], which: str) -> int:
        if which.isdecimal():
            return int(which)
        if which == LATEST:
            newest = self._newest(name, model)
            if newest is None:
                raise LibraryError(f"{name}: has no version on {self._server.host}")
            return _number(newest)
        aliases = _aliases(model)
        if which not in aliases:
            known = ", ".join(sorted(aliases)) or "none"
            raise LibraryError(f"{name}: has no alias {which!r:.40} on {self._server.host}; it has {known}")
        return aliases[which]

    def _version(self, name: str, number: int) -> dict[str, Any]:
        asked = {"name": name, "version": str(number)}
        answered = self._server.find(f"{_API}/model-versions/get", asked)
        if answered is None:
            raise LibraryError(f"{name}/{number}: there is no such version on {self._server.host}")
        return _object(answered, "model_version")

    def _newest(self, name: str, model: Mapping[str, Any]) -> dict[str, Any] | None:
        numbers = [_number(version) for version in _objects(model, "latest_versions")]
        return self._version(name, max(numbers)) if numbers else None


def name_there(name: str) -> str:
    """The name that a prompt of ours has there, where names have no folders."""
    return name.replace("/", ".")


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise FormatError(
            f"{name!r:.80}: MLflow's names of prompts have letters, digits, '.', '_' and '-'; "
            "give another: --as NAME"
        )


def _version_tags(push: Push, text: str) -> dict[str, str]:
    version = push.version
    ours = {
        _HASH_TAG: version.content_hash,
        _REFERENCE_TAG: version.reference,
        _CONTRACT_TAG: version.content.contract.model_dump_json(),
    }
    theirs = {_IS_PROMPT: "true", _TYPE: "text", _TEXT: text}
    tags = {}
    for tag in push.tags:
        key, _, value = tag.replace("=", ":", 1).partition(":")
        tags[key] = value or "true"
    return tags | ours | theirs


def _tag_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in tags.items()]


def _tags(found: Mapping[str, Any]) -> dict[str, str]:
    return {str(tag.get("key")): str(tag.get("value", "")) for tag in _objects(found, "tags")}


def _aliases(model: Mapping[str, Any]) -> dict[str, int]:
    return {str(alias.get("alias")): _number(alias) for alias in _objects(model, "aliases")}


def _number(found: Mapping[str, Any]) -> int:
    text = str(found.get("version", ""))
    if not text.isdecimal():
        raise FormatError(f"a version has a number, found {text!r:.40}")
    return int(text)


def _object(found: Mapping[str, Any], name: str) -> dict[str, Any]:
    inner = found.get(name)
    if not isinstance(inner, dict):
        raise FormatError(f"the answer has no {name}; is this an MLflow server?")
    return inner


def _objects(found: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    inner = found.get(name, [])
    if not isinstance(inner, list) or not all(isinstance(each, dict) for each in inner):
        raise FormatError(f"the answer has no list of {name}; is this an MLflow server?")
    return inner


def _json(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FormatError("its messages are no JSON") from error
