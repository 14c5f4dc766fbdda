"""A checked suite as JUnit XML, which build servers read."""

from xml.etree.ElementTree import Element, SubElement, indent, tostring

import regex

from tuningfork.evaluation.suite_results import CellRecord, SuiteRecord

# Characters that XML 1.0 cannot hold, escaped or not.
_UNSAYABLE = regex.compile(r"[^\t\n\r\u0020-\uD7FF\uE000-\uFFFD\U00010000-\U0010FFFF]")


def suite_junit(record: SuiteRecord) -> str:
    """Return `record` as XML: a test suite for each prompt, a test case for each case.

    A flaky case is a failure; one that could not be checked is skipped.
    """
    root = Element("testsuites", name=_said(record.suite))
    for prompt in record.prompts:
        suite = SubElement(
            root,
            "testsuite",
            name=_said(prompt.name),
            tests=str(len(record.cases)),
            failures=str(prompt.num_failed + prompt.num_flaky),
            skipped=str(prompt.num_skipped),
            errors="0",
            timestamp=record.created,
        )
        for cell in record.cells:
            if cell.prompt == prompt.name:
                _add_case(suite, cell)
    indent(root)
    return tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _add_case(suite: Element, cell: CellRecord) -> None:
    case = SubElement(suite, "testcase", classname=_said(cell.prompt), name=_said(cell.case))
    if cell.status == "passed":
        return
    lines = [_said(reason) for reason in cell.reasons]
    first = lines[0] if lines else ""
    if cell.status == "skipped":
        SubElement(case, "skipped", message=first)
        return
    flaky = f"flaky, {cell.share:.0%} of answers passed: " if cell.status == "flaky" else ""
    failure = SubElement(case, "failure", message=flaky + first, type=cell.status)
    failure.text = "\n".join(lines)


def _said(text: str) -> str:
    return str(_UNSAYABLE.sub("\ufffd", text))
