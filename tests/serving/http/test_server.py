import socket

import httpx2
import pytest

from tests.serving.http.conftest import make_service
from tests.serving.http.running import running
from tests.serving.scripted_engine import ScriptedEngine
from tuningfork.errors import ServingError
from tuningfork.models.frozen import FrozenModel
from tuningfork.serving.http.app import create_app
from tuningfork.serving.http.server import address_of, listen, make_server


def test_a_free_port_is_found_and_a_taken_one_is_told() -> None:
    with listen("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        assert address_of(first) == f"http://127.0.0.1:{port}/v1"
        with pytest.raises(ServingError, match=f":{port}: cannot listen there .*choose another --port"):
            listen("127.0.0.1", port)
    with pytest.raises(ServingError, match="cannot listen there"):
        listen("192.0.2.1", 0)


@pytest.mark.skipif(not socket.has_ipv6, reason="this machine has no IPv6")
def test_addresses_of_the_newer_kind_are_written_in_brackets() -> None:
    try:
        listening = listen("::1", 0)
    except ServingError:
        pytest.skip("this machine has no IPv6 address")
    with listening:
        assert address_of(listening).startswith("http://[::1]:")


def test_a_server_answers_until_it_is_stopped(model: FrozenModel) -> None:
    with running(model) as server:
        assert httpx2.get(f"{server.address}/models").status_code == 200
        response = httpx2.get(server.address.replace("/v1", "/health"))
        assert "server" not in response.headers
    with pytest.raises(httpx2.ConnectError):
        httpx2.get(f"{server.address}/models")


def test_nothing_is_printed_for_a_request(model: FrozenModel) -> None:
    config = make_server(create_app(make_service(model, ScriptedEngine()))).config
    assert not config.access_log
    assert config.timeout_graceful_shutdown
