from pathlib import Path

import pytest

from tests.scripted_server import KEY, KEY_VARIABLE, Reply, chat_reply, failure, serving
from tuningfork.errors import RemoteError
from tuningfork.models.remote import RemoteModel
from tuningfork.tuning.text.proposers.endpoint import EndpointProposer
from tuningfork.tuning.text.proposers.request import Request


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, KEY)


def test_each_draw_is_asked_for_with_a_seed_of_its_own_and_paid_once(tmp_path: Path) -> None:
    with serving(lambda asked: chat_reply(f"<instruction>Say {asked.body['seed']}</instruction>")) as server:
        model = RemoteModel(server.settings(tmp_path), price=lambda read, said: read + 10 * said)
        proposer = EndpointProposer(model, price=lambda read, said: read + 10 * said)
        request = Request("paraphrase", instruction="Sort it.")
        assert proposer.propose(request, 3, 7) == ["Say 7", "Say 8", "Say 9"]
        # The server counts 7 tokens in and 3 out.
        assert proposer.take_money() == 3 * 37
        assert proposer.propose(request, 3, 7) == ["Say 7", "Say 8", "Say 9"]
        assert proposer.take_money() == 0
        assert proposer.most_money(request, 3) > 3 * 10 * 512
        assert len(server.asked) == 3
        assert "Sort it." in server.asked[0].last_turn
        model.close()


@pytest.mark.parametrize("reply", [failure(429), failure(500), Reply("garbage"), Reply(hang=True)])
def test_a_server_that_fails_is_told_in_one_line(reply: Reply, tmp_path: Path) -> None:
    with serving() as server:
        server.says(reply)
        settings = server.settings(tmp_path, max_attempts=2, timeout_seconds=0.2)
        with RemoteModel(settings) as model, pytest.raises(RemoteError) as error:
            EndpointProposer(model).propose(Request("paraphrase"), 2, 0)
    assert "\n" not in str(error.value)
