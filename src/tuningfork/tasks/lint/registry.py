"""All rules, and what they find in a task."""

from tuningfork.tasks.lint.labels import LABELS
from tuningfork.tasks.lint.places import PLACES
from tuningfork.tasks.lint.rows import ROWS
from tuningfork.tasks.lint.rule import Finding, Rule, Subject
from tuningfork.tasks.lint.wording import WORDING

RULES: tuple[Rule, ...] = (*PLACES, *WORDING, *LABELS, *ROWS)


def lint(subject: Subject) -> list[Finding]:
    """Return what all rules find in `subject`, errors first."""
    found = [finding for rule in RULES for finding in rule.findings(subject)]
    return sorted(found, key=lambda finding: finding.severity != "error")
