from tests.serving.http.conftest import Served


def test_embeddings_are_refused_with_the_reason(served: Served) -> None:
    error = served.refused("/v1/embeddings", {"model": "tiny", "input": "x"})
    assert error["message"].startswith("tiny writes text and gives no embeddings")
    assert error["code"] == "unsupported_endpoint"
