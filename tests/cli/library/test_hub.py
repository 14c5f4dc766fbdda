import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

from tests.cli.library.conftest import Command
from tests.commands import invoke
from tests.json_server import serving_json
from tests.library.exchange.bundles import register
from tests.library.exchange.hub_server import SmallHub
from tuningfork.library.store import Library


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[SmallHub]:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    made = SmallHub()
    with serving_json(made) as server:
        made.address = server.address
        # Both are read from HF_ENDPOINT when the client is imported.
        monkeypatch.setattr(constants, "ENDPOINT", server.address)
        template = f"{server.address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        yield made


def test_a_bundle_goes_to_the_hub_and_comes_into_another_library(
    command: Command, place: Path, hub: SmallHub
) -> None:
    with Library(place / "library") as library:
        register(library, name="queue")
    command("keygen", "k", "--name", "Shop")
    tried = command("push", "queue@1", "--hub", "ann/prompt", "--key", "k", "--dry-run")
    assert tried.stdout.startswith("Push      queue@1 would become ann/prompt@\nFile      prompt.tfb: ")
    assert hub.commits == {}
    sent = json.loads(command("push", "queue@1", "--hub", "ann/prompt", "--key", "k", "--json").stdout)
    assert sent["reference"] == f"ann/prompt@{hub.commit_name('ann/prompt', 2)}"
    assert hub.private == {"ann/prompt": True}

    def pull(*arguments: str) -> str:
        done = invoke(place, "library", "pull", "--hub", sent["reference"], "--library", "other", *arguments)
        return done.stdout + done.stderr

    assert "which is not trusted here" in pull()
    assert f"Bundle    {sent['reference']} from library " in pull("--trust", "k.pub")
    described = json.loads(pull("--trust", "k.pub", "--json"))
    assert described["from"] == sent["reference"]
    assert described["versions"][0]["is_new"] is False


def test_a_peft_folder_needs_a_task(command: Command, hub: SmallHub) -> None:
    commit = hub.put("ann/prompt", {"adapter_config.json": b"{}", "adapter_model.safetensors": b"x"})
    refused = command("pull", "--hub", "ann/prompt")
    assert f"ann/prompt@{commit}: has no bundle; a PEFT folder needs a task: --task FILE" in refused.stderr


def test_a_bundle_is_signed_or_it_is_said_that_it_is_not(command: Command, hub: SmallHub) -> None:
    assert "sign the bundle with --key FILE" in command("push", "words@1", "--hub", "ann/prompt").stderr
    refused = command("push", "words@1", "--hub", "ann/prompt", "--form", "peft", "--unsigned")
    assert "a PEFT folder has no signature" in refused.stderr
    assert hub.commits == {}
