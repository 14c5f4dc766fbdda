from tests.serving.http.conftest import Served
from tests.serving.served import CONTEXT


def test_everything_that_is_served_is_listed(served: Served) -> None:
    found = served.client.get("/v1/models").json()
    assert found["object"] == "list"
    assert [card["id"] for card in found["data"]] == ["tiny", "replies", "words", "queues", "two"]
    assert found["data"][0] == {
        "id": "tiny", "object": "model", "created": 0, "owned_by": "tuningfork", "root": "tiny",
        "parent": None, "max_model_len": CONTEXT,
    }  # fmt: skip
    assert (found["data"][1]["parent"], found["data"][1]["created"]) == ("tiny", 1767323045)


def test_one_is_described(served: Served) -> None:
    assert served.client.get("/v1/models/replies").json()["id"] == "replies"
    response = served.client.get("/v1/models/shop/nobody")
    assert response.status_code == 404
    assert response.json()["error"]["code"] == "model_not_found"
