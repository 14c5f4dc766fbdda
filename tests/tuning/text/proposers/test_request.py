from dataclasses import replace

from tuningfork.tuning.text.proposers.request import Request

REQUEST = Request("improve", instruction="Sort.", scored=(("a", 0.5),), examples=(("in", "out"),))


def test_a_key_tells_apart_what_is_asked_of_whom() -> None:
    keys = {
        REQUEST.key("rules", 3, 0),
        REQUEST.key("model", 3, 0),
        REQUEST.key("rules", 4, 0),
        REQUEST.key("rules", 3, 1),
        replace(REQUEST, scored=(("a", 0.25),)).key("rules", 3, 0),
        replace(REQUEST, examples=()).key("rules", 3, 0),
        replace(REQUEST, kind="paraphrase").key("rules", 3, 0),
    }
    assert len(keys) == 7
    assert REQUEST.key("rules", 3, 0) in keys
