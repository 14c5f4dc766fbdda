"""Suites of cases for the tiny tasks."""

from pathlib import Path

ANSWERS = """\
suite: answers
assertions:
- length: {max: 400}
cases:
- {id: one, inputs: {message: "Tea 1?"}, assertions: [{length: {min: 0}}]}
- {id: two, tags: [late], inputs: {message: "Tea 22?"}}
- {id: three, tags: [late], inputs: {message: "Milk?"}}
"""
LABELS = """\
suite: labels
cases:
- {id: refund, critical: true, inputs: {message: refund 3}, expected: billing, assertions: [{label: }]}
- {id: either, inputs: {message: crash 4}, assertions: [{label: [billing, tech_team]}]}
- {id: neither, inputs: {message: crash 5}, assertions: [{not_label: [billing, tech_team]}]}
"""


def write_suite(folder: Path, text: str) -> Path:
    """`text` as a suite in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "suite.yaml"
    path.write_text(text, encoding="utf-8")
    return path
