from xml.etree.ElementTree import fromstring

from tests.evaluation.suite_examples import HOSTILE, cell, record
from tuningfork.evaluation.suite_junit import suite_junit


def test_a_test_suite_for_each_prompt() -> None:
    checked = record(
        {
            "p": [["passed"], ["failed"], ["passed", "failed"], ["skipped"]],
            "q": [["passed"]] * 4,
        }
    )
    root = fromstring(suite_junit(checked))
    first, second = root.findall("testsuite")
    assert (first.get("name"), first.get("tests"), first.get("failures"), first.get("skipped")) == (
        "p",
        "4",
        "2",
        "1",
    )
    assert (second.get("name"), second.get("failures")) == ("q", "0")
    names = [(case.get("classname"), case.get("name")) for case in first]
    assert names == [("p", f"case-{i}") for i in range(4)]
    passed, failed, flaky, skipped = first
    assert list(passed) == []
    assert [(f.tag, f.get("message"), f.text) for f in failed] == [("failure", "no tea", "no tea")]
    assert [f.get("message") for f in flaky] == ["flaky, 50% of answers passed: no tea"]
    assert [f.tag for f in skipped] == ["skipped"]


def test_what_xml_cannot_hold_is_replaced() -> None:
    checked = record({"p": [["failed"]]})
    bad = "\0\x08\ud800\ufffe"
    checked = checked.model_copy(
        update={"suite": HOSTILE, "cells": (cell("case-0", "p", "failed", reason=f"{HOSTILE}{bad}"),)}
    )
    root = fromstring(suite_junit(checked))
    assert root.get("name") == HOSTILE.replace("\x1b", "\ufffd")
    failure = root.find(".//failure")
    assert failure is not None
    assert failure.text == HOSTILE.replace("\x1b", "\ufffd") + "\ufffd" * 4
