from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from tests.json_server import JsonServer, Said, serving_json
from tests.library.exchange.langfuse_server import PUBLIC, RECORDED, SECRET, RecordedLangfuse
from tests.library.exchange.words import text_version
from tuningfork.errors import ConflictError, FormatError, LibraryError, RemoteError
from tuningfork.library.exchange.langfuse import LangfuseRegistry
from tuningfork.library.exchange.registry import Push

NAME = "shop/reply"


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANGFUSE_PUBLIC_KEY", PUBLIC)
    monkeypatch.setenv("LANGFUSE_SECRET_KEY", SECRET)


@pytest.fixture
def there() -> RecordedLangfuse:
    return RecordedLangfuse()


@pytest.fixture
def server(there: RecordedLangfuse) -> Iterator[JsonServer]:
    with serving_json(there) as running:
        yield running


@pytest.fixture
def registry(server: JsonServer) -> Iterator[LangfuseRegistry]:
    with closing(LangfuseRegistry(server.address)) as opened:
        yield opened


def test_a_recorded_prompt_is_read(server: JsonServer) -> None:
    with (
        serving_json(lambda _: Said(RECORDED)) as recorded,
        closing(LangfuseRegistry(recorded.address)) as registry,
    ):
        pulled = registry.pull("greeting_prompt", "production")
    assert recorded.asked[0].route == "GET api/public/v2/prompts/greeting_prompt"
    assert recorded.asked[0].query == {"label": "production"}
    assert pulled.words.template.text == "{{greeting}} world! Please respond in {{language}} style."
    assert (pulled.version, pulled.message, pulled.aliases) == (2, "", ("production",))
    assert pulled.tags == ("greeting", "test")
    assert pulled.origin.reference == "greeting_prompt/2"
    assert pulled.origin.notes == ()


def test_a_version_goes_and_comes_back(
    registry: LangfuseRegistry, server: JsonServer, there: RecordedLangfuse
) -> None:
    version = text_version()
    pushed = registry.push(Push(version, NAME, tags=("team:shop",), aliases=("production",)))
    assert (pushed.reference, pushed.is_new) == ("shop/reply/1", True)
    body = server.asked[-1].body
    assert body["type"] == "text"
    assert body["prompt"] == "Answer {{question}} in {{language}}."
    assert body["commitMessage"] == "shorter"
    assert body["config"]["tuningfork"]["reference"] == "shop/reply@3"
    pulled = registry.pull(NAME, "production")
    assert pulled.words.template.text == "Answer {{question}} in {{language}}."
    assert pulled.origin.model_dump() == {
        "kind": "langfuse", "place": server.address, "reference": "shop/reply/1",
        "content_hash": version.content_hash, "signer": "", "key": "", "notes": (),
    }  # fmt: skip
    assert (pulled.message, pulled.aliases, pulled.tags) == ("shorter", ("production",), ("team:shop",))
    # A folder in a name is one part of the path.
    assert server.asked[-1].path[4:] == (NAME,)


def test_an_instruction_for_conversations_goes_as_chat_and_comes_back(
    registry: LangfuseRegistry, there: RecordedLangfuse
) -> None:
    version = text_version("Be kind.", ())
    registry.push(Push(version, NAME))
    assert there.versions[NAME][0]["type"] == "chat"
    assert there.versions[NAME][0]["prompt"] == [
        {"type": "chatmessage", "role": "system", "content": "Be kind."},
        {"type": "placeholder", "name": "messages"},
    ]
    assert registry.pull(NAME, "1").words.template.text == "Be kind."
    assert not registry.push(Push(version, NAME)).is_new


def test_the_same_version_is_not_added_twice_but_gets_its_labels(
    registry: LangfuseRegistry, there: RecordedLangfuse
) -> None:
    registry.push(Push(text_version(), NAME, aliases=("staging",)))
    assert not registry.push(Push(text_version(), NAME)).is_new
    assert there.versions[NAME][0]["labels"] == ["staging", "latest"]
    assert registry.push(Push(text_version(), NAME, aliases=("production",)), dry_run=True).is_new is False
    assert there.versions[NAME][0]["labels"] == ["staging", "latest"]
    registry.push(Push(text_version(), NAME, aliases=("production",)))
    assert sorted(there.versions[NAME][0]["labels"]) == ["latest", "production", "staging"]
    assert registry.numbers(NAME) == [1]


def test_a_version_of_somebody_else_is_not_passed_over(
    registry: LangfuseRegistry, there: RecordedLangfuse
) -> None:
    registry.push(Push(text_version(), NAME))
    there.add({"name": NAME, "prompt": "Theirs {{x}}", "config": {"temperature": 0}})
    push = Push(text_version("{{question}}", ("question",)), NAME, known_hashes={text_version().content_hash})
    with pytest.raises(ConflictError, match="shop/reply/2: somebody else made this newest version"):
        registry.push(push)
    assert registry.numbers(NAME) == [1, 2]
    pulled = registry.pull(NAME, "latest")
    assert pulled.origin.notes == ("its config was left out",)
    known = Push(push.version, NAME, known_references={pulled.origin.reference})
    assert registry.push(known).reference == "shop/reply/3"


def test_a_dry_run_changes_nothing(registry: LangfuseRegistry, there: RecordedLangfuse) -> None:
    assert registry.push(Push(text_version(), NAME), dry_run=True).reference == "shop/reply/1"
    assert there.versions == {}
    registry.push(Push(text_version(), NAME))
    other = Push(text_version("{{question}}", ("question",)), NAME, overrides=True)
    assert registry.push(other, dry_run=True).reference == "shop/reply/2"
    assert len(there.versions[NAME]) == 1


def test_a_prompt_keeps_its_type(registry: LangfuseRegistry) -> None:
    registry.push(Push(text_version(), NAME))
    with pytest.raises(
        FormatError, match="shop/reply/1: is of type text, and Langfuse takes no chat behind it"
    ):
        registry.push(Push(text_version("Be kind.", ()), NAME, overrides=True))


def test_what_is_not_there_is_told(registry: LangfuseRegistry) -> None:
    with pytest.raises(LibraryError, match="shop/reply: there is no version production of it on 127"):
        registry.pull(NAME, "production")
    with pytest.raises(LibraryError, match="shop/reply: there is no such prompt"):
        registry.numbers(NAME)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"prompt": "See @@@langfusePrompt:name=other|label=production@@@"}, "refers to another prompt"),
        ({"prompt": "{{ x | e }}"}, "more than a name between braces"),
        ({"type": "chat", "prompt": [{"role": "assistant", "content": "x"}]}, "its messages are assistant"),
        ({"type": "image", "prompt": None}, "is of type 'image'"),
        ({"version": "2"}, "a version has a number"),
        ({"tags": 5}, "its tags are no list"),
        ({"commitMessage": ["x"]}, "its commitMessage is no text"),
    ],
)
def test_what_cannot_be_read_is_refused(changes: dict[str, Any], reason: str) -> None:
    with (
        serving_json(lambda _: Said(RECORDED | changes)) as server,
        closing(LangfuseRegistry(server.address)) as registry,
        pytest.raises(FormatError, match=reason),
    ):
        registry.pull("greeting_prompt", "2")


def test_prompts_that_were_put_in_are_noted() -> None:
    with (
        serving_json(lambda _: Said(RECORDED | {"resolutionGraph": {"root": {}}})) as server,
        closing(LangfuseRegistry(server.address)) as registry,
    ):
        pulled = registry.pull("greeting_prompt", "2")
    assert pulled.origin.notes == ("prompts that it refers to were put in as they are",)


@pytest.mark.parametrize("listed", [{"data": [5]}, {"data": 5}, {"data": [{"versions": ["a"]}]}])
def test_a_list_that_is_none_is_told(listed: Any) -> None:
    with (
        serving_json(lambda _: Said(listed)) as server,
        closing(LangfuseRegistry(server.address)) as registry,
        pytest.raises(FormatError, match="is this a Langfuse server"),
    ):
        registry.numbers("x")


def test_keys_come_from_the_environment_and_are_never_shown(
    server: JsonServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LANGFUSE_SECRET_KEY", "sk-lf-wrong-key")
    with (
        closing(LangfuseRegistry(server.address)) as registry,
        pytest.raises(RemoteError, match=r"refuses the key.* \(status 401\): Invalid credentials") as told,
    ):
        registry.pull(NAME, "1")
    assert "sk-lf" not in str(told.value)
    monkeypatch.delenv("LANGFUSE_SECRET_KEY")
    with pytest.raises(
        RemoteError, match="environment variables LANGFUSE_PUBLIC_KEY and LANGFUSE_SECRET_KEY"
    ):
        LangfuseRegistry(server.address)
