import pytest

from tests.json_server import Said, serving_json
from tuningfork.cli.library.registries import check_one, registry_at
from tuningfork.errors import LibraryError, RemoteError


def test_exactly_one_place_is_named() -> None:
    check_one(mlflow="http://x", langfuse=None)
    with pytest.raises(LibraryError, match="name one place, by one of --mlflow, --hub; found 0"):
        check_one(mlflow=None, hub=None)
    with pytest.raises(LibraryError, match="found 2"):
        check_one(mlflow="x", hub="y")


def test_a_registry_is_opened_and_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANGFUSE_PUBLIC_KEY", "pk")
    monkeypatch.setenv("LANGFUSE_SECRET_KEY", "sk")
    with serving_json(lambda _: Said({})) as server:
        for kind, arguments in (("mlflow", (server.address, None)), ("langfuse", (None, server.address))):
            with registry_at(*arguments, insecure=False) as registry:
                assert (registry.kind, registry.place) == (kind, server.address)


def test_plain_http_leaves_this_machine_only_if_that_is_allowed() -> None:
    with pytest.raises(RemoteError, match="http"), registry_at("http://example.com", None, insecure=False):
        pass
    with registry_at("http://example.com", None, insecure=True) as registry:
        assert registry.place == "http://example.com"
