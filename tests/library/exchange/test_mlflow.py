"""Against answers recorded from MLflow 3.17.2 and, where it is installed, against a server of its own.

`TUNINGFORK_MLFLOW` names the `mlflow` program of another environment; see CONTRIBUTING.md.
"""

import json
import subprocess
from collections.abc import Iterator
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.json_server import Asked, Said, serving_json
from tests.library.exchange.mlflow_server import RecordedMlflow, find_mlflow, running_mlflow
from tests.library.exchange.words import text_version
from tuningfork.errors import ConflictError, FormatError, LibraryError, RemoteError
from tuningfork.library.exchange.mlflow import MlflowRegistry, name_there
from tuningfork.library.exchange.registry import Push
from tuningfork.library.exchange.server import Server

_NUMBERS = count()


@pytest.fixture(scope="session")
def real_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    program = find_mlflow()
    if program is None:
        pytest.skip("MLflow is not installed: name its program in TUNINGFORK_MLFLOW")
    with running_mlflow(program, tmp_path_factory.mktemp("mlflow")) as address:
        yield address


@pytest.fixture(params=["recorded", pytest.param("real", marks=pytest.mark.slow)])
def address(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    for name in ("TOKEN", "USERNAME", "PASSWORD"):
        monkeypatch.delenv(f"MLFLOW_TRACKING_{name}", raising=False)
    if request.param == "real":
        yield request.getfixturevalue("real_address")
        return
    with serving_json(RecordedMlflow()) as server:
        yield server.address


@pytest.fixture
def registry(address: str) -> Iterator[MlflowRegistry]:
    with closing(MlflowRegistry(address)) as opened:
        yield opened


@pytest.fixture
def name() -> str:
    """Of a prompt that is not there yet, also on a server that many tests share."""
    return f"reply.{next(_NUMBERS)}"


def made_there(address: str, name: str, text: str, kind: str = "text", **tags: str) -> None:
    """A version as somebody else's client makes it."""
    every = {
        "mlflow.prompt.is_prompt": "true",
        "mlflow.prompt.text": text,
        "_mlflow_prompt_type": kind,
        **tags,
    }
    listed = [{"key": key, "value": value} for key, value in every.items()]
    with Server(address) as server:
        if server.find("/api/2.0/mlflow/registered-models/get", {"name": name}) is None:
            server.send(
                "POST", "/api/2.0/mlflow/registered-models/create", {"name": name, "tags": listed[:1]}
            )
        body = {"name": name, "source": "dummy-source", "tags": listed}
        server.send("POST", "/api/2.0/mlflow/model-versions/create", body)


def test_a_version_goes_and_comes_back(registry: MlflowRegistry, name: str, address: str) -> None:
    version = text_version("Say \\{{ to {{who}}, in {{ language }}.", ("who", "language"))
    tags = ("team:shop", "urgent", "lang=en")
    pushed = registry.push(Push(version, name, tags=tags, aliases=("staging", "production")))
    assert (pushed.reference, pushed.is_new) == (f"{name}/1", True)
    pulled = registry.pull(name, "latest", as_text=True)
    assert pulled.words.template.segments == version_segments(version.content.text)
    assert (pulled.name, pulled.version, pulled.message) == (name, 1, "shorter")
    assert pulled.aliases == ("production", "staging")
    assert pulled.tags == ("lang:en", "team:shop", "urgent")
    assert pulled.origin.model_dump() == {
        "kind": "mlflow", "place": address, "reference": f"{name}/1", "content_hash": version.content_hash,
        "signer": "", "key": "", "notes": pulled.words.notes,
    }  # fmt: skip


def version_segments(text: str) -> Any:
    from tuningfork.tasks.template import PromptTemplate

    return PromptTemplate(text).segments


def test_versions_are_counted_named_and_found_by_alias(registry: MlflowRegistry, name: str) -> None:
    first, second = text_version(), text_version("{{question}}", ("question",))
    registry.push(Push(first, name, aliases=("production",)))
    pushed = registry.push(Push(second, name, known_hashes={first.content_hash}))
    assert pushed.reference == f"{name}/2"
    assert registry.numbers(name) == [1, 2]
    assert registry.pull(name, "production").version == 1
    assert registry.pull(name, "2").words.template.text == "{{question}}"
    assert registry.pull(name, "latest").version == 2
    with pytest.raises(LibraryError, match=f"{name}/3: there is no such version"):
        registry.pull(name, "3")
    with pytest.raises(LibraryError, match=f"{name}: has no alias 'canary' .*; it has production"):
        registry.pull(name, "canary")
    with pytest.raises(LibraryError, match=r"nobody\.9: there is no such prompt"):
        registry.pull("nobody.9", "latest")
    with pytest.raises(LibraryError, match=r"nobody\.9: there is no such prompt"):
        registry.numbers("nobody.9")


def test_pages_of_versions_are_read_to_the_last(
    registry: MlflowRegistry, name: str, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tuningfork.library.exchange import mlflow

    for number in range(5):
        made_there(address, name, f"Say {number} {{{{x}}}}")
    monkeypatch.setattr(mlflow, "_PAGE", 2)
    assert registry.numbers(name) == [1, 2, 3, 4, 5]


def test_the_same_version_is_not_added_twice_but_its_aliases_move(
    registry: MlflowRegistry, name: str
) -> None:
    registry.push(Push(text_version(), name))
    again = registry.push(Push(text_version(), name, aliases=("production",)))
    assert (again.reference, again.is_new) == (f"{name}/1", False)
    assert registry.numbers(name) == [1]
    assert registry.pull(name, "production").version == 1


def test_a_version_of_somebody_else_is_not_passed_over(
    registry: MlflowRegistry, name: str, address: str
) -> None:
    registry.push(Push(text_version(), name))
    made_there(address, name, "Theirs {{x}}")
    ours = text_version("{{question}}", ("question",))
    push = Push(ours, name, known_hashes={text_version().content_hash})
    with pytest.raises(ConflictError, match=rf"{name}/2: somebody else made this newest version"):
        registry.push(push)
    with pytest.raises(ConflictError, match="somebody else"):
        registry.push(push, dry_run=True)
    assert registry.numbers(name) == [1, 2]
    known = Push(ours, name, known_references={f"{name}/2"})
    assert registry.push(known).reference == f"{name}/3"


def test_a_dry_run_changes_nothing(registry: MlflowRegistry, name: str) -> None:
    would = registry.push(Push(text_version(), name, aliases=("production",)), dry_run=True)
    assert (would.reference, would.is_new) == (f"{name}/1", True)
    with pytest.raises(LibraryError, match="there is no such prompt"):
        registry.numbers(name)
    registry.push(Push(text_version(), name))
    same = registry.push(Push(text_version(), name, aliases=("production",)), dry_run=True)
    assert not same.is_new
    assert registry.pull(name, "1").aliases == ()
    other = text_version("{{question}}", ("question",))
    push = Push(other, name, known_hashes={text_version().content_hash})
    assert registry.push(push, dry_run=True).reference == f"{name}/2"
    assert registry.numbers(name) == [1]


def test_chat_and_jinja_of_others(registry: MlflowRegistry, name: str, address: str) -> None:
    chat = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "{{q}}"}]
    made_there(address, name, json.dumps(chat), "chat", Owner="Me", area="shop")
    pulled = registry.pull(name, "1")
    assert pulled.words.template.text == "Be kind.\n\n{{q}}"
    assert pulled.tags == ("area:shop",)
    assert pulled.origin.notes == (
        "its messages (system, user) are one text here",
        "tags that cannot be written here were left out: Owner:Me",
    )
    made_there(address, name, "{% for x in y %}{{ x }}{% endfor %}")
    with pytest.raises(FormatError, match=rf"{name}/2: its template holds '{{%"):
        registry.pull(name, "2")
    assert registry.pull(name, "2", as_text=True).words.template.variables == ("x",)
    made_there(address, name, "not json", "chat")
    with pytest.raises(FormatError, match=f"{name}/3: its messages are no JSON"):
        registry.pull(name, "latest")


def test_a_model_is_no_prompt(registry: MlflowRegistry, name: str, address: str) -> None:
    with Server(address) as server:
        server.send("POST", "/api/2.0/mlflow/registered-models/create", {"name": name})
    for asked in (lambda: registry.pull(name, "1"), lambda: registry.push(Push(text_version(), name))):
        with pytest.raises(FormatError, match=rf"{name}: is a model on .*, no prompt"):
            asked()


def test_names_have_no_folders_there(registry: MlflowRegistry) -> None:
    assert name_there("shop/reply") == "shop.reply"
    for wrong in ("shop/reply", "x' OR name='y", ""):
        with pytest.raises(FormatError, match=r"MLflow's names of prompts have letters.*--as NAME"):
            registry.push(Push(text_version(), wrong))
        with pytest.raises(FormatError, match="MLflow's names of prompts"):
            registry.pull(wrong, "1")


def test_what_is_too_long_is_not_sent(registry: MlflowRegistry, name: str) -> None:
    with pytest.raises(FormatError, match="MLflow keeps 100000 characters at most"):
        registry.push(Push(text_version("x" * 100_001, ()), name))


@pytest.mark.slow
def test_mlflows_own_client_reads_what_is_pushed_and_is_read(
    real_address: str, name: str, tmp_path: Path
) -> None:
    program = find_mlflow()
    assert program is not None
    with closing(MlflowRegistry(real_address)) as ours:
        ours.push(Push(text_version(), name, tags=("a:b",), aliases=("production",)))
    script = f"""
import json, mlflow
client = mlflow.MlflowClient(registry_uri={real_address!r}, tracking_uri={real_address!r})
found = client.load_prompt("prompts:/{name}@production")
client.register_prompt({name!r}, "Theirs {{{{ x }}}}", commit_message="by MLflow", tags={{"k": "v"}})
print(json.dumps([found.template, sorted(found.variables), found.version, found.commit_message, found.tags]))
"""
    done = subprocess.run(
        [str(program.with_name("python")), "-W", "ignore", "-c", script],
        capture_output=True, text=True, timeout=120, check=True, cwd=tmp_path,
        env={"MLFLOW_DISABLE_TELEMETRY": "true", "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
    )  # fmt: skip
    template, variables, version, message, tags = json.loads(done.stdout.splitlines()[-1])
    assert template == "Answer {{question}} in {{language}}."
    assert (variables, int(version), message) == (["language", "question"], 1, "shorter")
    assert tags["a"] == "b"
    with closing(MlflowRegistry(real_address)) as ours:
        pulled = ours.pull(name, "latest")
    assert pulled.words.template.text == "Theirs {{x}}"
    assert (pulled.version, pulled.message, pulled.tags) == (2, "by MLflow", ("k:v",))


def test_keys_are_read_from_the_environment_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(asked: Asked) -> Said:
        return Said({"message": f"no {asked.headers.get('authorization', '')}"}, 403)

    with serving_json(refuse) as server:
        monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "secret-token-123")
        with (
            closing(MlflowRegistry(server.address)) as registry,
            pytest.raises(RemoteError, match=r"refuses the key.*no Bearer \[key\]"),
        ):
            registry.pull("x", "1")
        assert server.asked[-1].headers["authorization"] == "Bearer secret-token-123"
        monkeypatch.delenv("MLFLOW_TRACKING_TOKEN")
        monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ann")
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "pass-word-123")
        with (
            closing(MlflowRegistry(server.address)) as registry,
            pytest.raises(RemoteError, match="refuses the key"),
        ):
            registry.pull("x", "1")
        assert server.asked[-1].headers["authorization"].startswith("Basic ")


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"registered_model": []},
        {"registered_model": {"tags": "x"}},
        {"registered_model": {"tags": ["x"]}},
    ],
)
def test_what_does_not_answer_like_mlflow_is_told(answer: Any) -> None:
    with (
        serving_json(lambda _: Said(answer)) as server,
        closing(MlflowRegistry(server.address)) as registry,
        pytest.raises(FormatError, match=r"is this an MLflow server|is a model on"),
    ):
        registry.pull("x", "1")


def test_the_newest_version_is_found_among_those_of_several_stages() -> None:
    there = RecordedMlflow()

    def staged(asked: Asked) -> Said:
        said = there(asked)
        if asked.path[-1] == "get" and asked.path[-2] == "registered-models":
            # As older servers list them: one for each stage.
            listed = [version | {"current_stage": "x"} for version in there.versions["reply"]]
            model = said.content["registered_model"] | {"latest_versions": listed}
            return Said({"registered_model": model})
        return said

    with serving_json(there) as plain:
        for number in range(3):
            made_there(plain.address, "reply", f"Say {number} {{{{x}}}}")
    with serving_json(staged) as server, closing(MlflowRegistry(server.address)) as registry:
        assert registry.pull("reply", "latest").version == 3
