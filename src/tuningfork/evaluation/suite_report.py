"""A checked suite as one HTML file: the verdict, the matrix, and every answer; it asks no network."""

from collections.abc import Iterable
from html import escape

from tuningfork.evaluation.suite_results import (
    AnswerRecord,
    CaseRecord,
    CellRecord,
    CellStatus,
    FlipRecord,
    OutcomeRecord,
    PromptRecord,
    SuiteRecord,
)

_MARKS: dict[CellStatus, str] = {"passed": "✓", "failed": "✗", "flaky": "≈", "skipped": "\N{EN DASH}"}
_WORDS: dict[CellStatus, str] = {
    "passed": "pass",
    "failed": "fail",
    "flaky": "flaky",
    "skipped": "not checked",
}

# Blue and orange are told apart by every kind of colour vision, and each has its mark and its word too.
_STYLE = """
:root { color-scheme: light dark; --paper: #fdfdfc; --ink: #1d2329; --dim: #59636e; --line: #d5dade;
  --panel: #f3f5f6; --passed: #0b5394; --passed-back: #dcebf8; --failed: #8f3a00; --failed-back: #fde3cf;
  --flaky: #5a4a00; --flaky-back: #fbf1c4; --skipped: #59636e; --skipped-back: #eceff1; }
@media (prefers-color-scheme: dark) { :root { --paper: #14181c; --ink: #e6e9ec; --dim: #a0abb6;
  --line: #38414a; --panel: #1c2228; --passed: #9dcbf5; --passed-back: #12344f; --failed: #ffb98a;
  --failed-back: #4f2507; --flaky: #f2df8a; --flaky-back: #443a0b; --skipped: #a0abb6;
  --skipped-back: #262d34; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 72rem; padding: 2rem 1.25rem 4rem; background: var(--paper);
  color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; margin: 0 0 .25rem; } h2 { font-size: 1.15rem; margin: 2.25rem 0 .75rem; }
p { margin: .25rem 0; } .dim { color: var(--dim); } .verdict { font-size: 1.15rem; margin: .75rem 0 0; }
a { color: inherit; } a:focus-visible, summary:focus-visible { outline: 2px solid var(--passed); }
.scroll { overflow-x: auto; } table { border-collapse: collapse; } th, td { text-align: left;
  vertical-align: top; padding: .4rem .75rem; border-bottom: 1px solid var(--line); }
thead th { color: var(--dim); font-weight: 600; vertical-align: bottom; } td.number { text-align: right;
  font-variant-numeric: tabular-nums; } th.number { text-align: right; }
td.why { min-width: 16rem; } th.case { font-weight: 500; overflow-wrap: anywhere; }
.matrix th.case { position: sticky; left: 0; background: var(--paper); min-width: 9rem; }
.matrix thead th { min-width: 7rem; max-width: 14rem; overflow-wrap: anywhere; }
.chip { display: inline-block; border-radius: .3rem; padding: .05rem .5rem; font-weight: 600;
  text-decoration: none; white-space: nowrap; }
.passed { color: var(--passed); background: var(--passed-back); }
.failed { color: var(--failed); background: var(--failed-back); }
.flaky { color: var(--flaky); background: var(--flaky-back); }
.skipped { color: var(--skipped); background: var(--skipped-back); }
.tag { border: 1px solid var(--line); border-radius: .3rem; padding: 0 .35rem; font-size: .8rem;
  color: var(--dim); white-space: nowrap; } .critical { color: var(--failed); border-color: currentcolor; }
details { border: 1px solid var(--line); border-radius: .4rem; margin: .5rem 0; padding: .5rem .9rem; }
summary { cursor: pointer; overflow-wrap: anywhere; } details:target { border-color: var(--passed); }
h3 { font-size: 1rem; margin: 1rem 0 .25rem; overflow-wrap: anywhere; } .text { background: var(--panel);
  border-radius: .3rem; padding: .5rem .75rem; margin: .3rem 0; white-space: pre-wrap;
  overflow-wrap: anywhere; }
ul { list-style: none; margin: .3rem 0 .8rem; padding: 0; } li { margin: .15rem 0; overflow-wrap: anywhere; }
@media print { details { break-inside: avoid; } }
"""


def suite_html(record: SuiteRecord) -> str:
    """Return `record` as a page of HTML; all that stands in it was escaped."""
    cells = {(cell.case, cell.prompt): cell for cell in record.cells}
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        "style-src 'unsafe-inline'\">",
        f"<title>{escape(record.suite)}: {'pass' if record.passes else 'fail'}</title>",
        f"<style>{_STYLE}</style></head><body>",
        _heading(record),
        _prompts(record.prompts),
        _matrix(record, cells),
        *(_flips(flip) for flip in record.flips),
        "<h2>Cases</h2>",
        *(_case(number, case, record, cells) for number, case in enumerate(record.cases, start=1)),
        "</body></html>",
    ]
    return "\n".join(parts) + "\n"


def verdict_sentence(record: SuiteRecord) -> str:
    """What came of the suite, in one sentence."""
    count = len(record.prompts)
    if count == 1:
        prompt = record.prompts[0]
        return f"{prompt.name} {'passes' if prompt.passes else 'fails'}: {prompt.reason}."
    passing = [prompt.name for prompt in record.prompts if prompt.passes]
    if len(passing) == count:
        return f"All {count} prompts pass."
    return f"{len(passing)} of {count} prompts pass" + (f": {', '.join(passing)}." if passing else ".")


def _heading(record: SuiteRecord) -> str:
    asked = f"{len(record.cases)} {'case' if len(record.cases) == 1 else 'cases'}"
    if record.repeats > 1:
        asked += (
            f", {record.repeats} answers each at temperature {record.temperature:g}, "
            f"seeds {record.seed} to {record.seed + record.repeats - 1}"
        )
    elif record.temperature > 0:
        asked += f", sampled at temperature {record.temperature:g}, seed {record.seed}"
    status: CellStatus = "passed" if record.passes else "failed"
    lines = [
        f"<h1>{escape(record.suite)}</h1>",
        f"<p>{escape(record.description)}</p>" if record.description else "",
        f'<p class="verdict">{_chip(status)} {escape(verdict_sentence(record))}</p>',
        f'<p class="dim">{escape(asked)}. Checked {escape(record.created)} in {record.seconds:.1f} s.</p>',
        *(f'<p class="dim">{escape(note)}.</p>' for note in record.notes),
    ]
    return "\n".join(filter(None, lines))


def _prompts(prompts: Iterable[PromptRecord]) -> str:
    rows = []
    for prompt in prompts:
        share = _MARKS["skipped"] if prompt.share is None else f"{prompt.share:.1%}"
        counts = (prompt.num_passed, prompt.num_failed, prompt.num_flaky, prompt.num_skipped)
        numbers = "".join(f'<td class="number">{value}</td>' for value in (share, *counts))
        rows.append(
            f'<tr><th class="case" scope="row">{escape(prompt.name)}</th>'
            f"<td>{_chip('passed' if prompt.passes else 'failed')}</td>{numbers}"
            f'<td class="why">{escape(prompt.reason)}</td></tr>'
        )
    counted = ("answers passed", "pass", "fail", "flaky", "not checked")
    numbers = "".join(f'<th scope="col" class="number">{name}</th>' for name in counted)
    head = f'<th scope="col">prompt</th><th></th>{numbers}<th scope="col">why</th>'
    return (
        f'<h2>Prompts</h2><div class="scroll"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _matrix(record: SuiteRecord, cells: dict[tuple[str, str], CellRecord]) -> str:
    head = "".join(f'<th scope="col">{escape(prompt.name)}</th>' for prompt in record.prompts)
    rows = []
    for number, case in enumerate(record.cases, start=1):
        row = "".join(f"<td>{_cell(cells[case.id, prompt.name], number)}</td>" for prompt in record.prompts)
        rows.append(f'<tr><th class="case" scope="row">{escape(case.id)} {_tags(case)}</th>{row}</tr>')
    return (
        f'<h2>Matrix</h2><div class="scroll"><table class="matrix"><thead><tr><th scope="col">case</th>{head}'
        f"</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _cell(cell: CellRecord, number: int) -> str:
    title = f' title="{escape(cell.reasons[0])}"' if cell.reasons else ""
    shown = f'<a class="chip {cell.status}" href="#case-{number}"{title}>{_label(cell)}</a>'
    if cell.status != "flaky":
        return shown
    return f'{shown}<br><span class="dim">{cell.low:.0%} to {cell.high:.0%}</span>'


def _label(cell: CellRecord) -> str:
    label = f"{_MARKS[cell.status]} {_WORDS[cell.status]}"
    if cell.status != "flaky":
        return label
    passed = sum(answer.status == "passed" for answer in cell.answers)
    return f"{label} {passed}/{len(cell.answers)}"


def _flips(flip: FlipRecord) -> str:
    def listed(ids: tuple[str, ...]) -> str:
        return escape(", ".join(ids)) if ids else "none"

    return (
        f"<h2>{escape(flip.second)} against {escape(flip.first)}</h2>"
        f'<p><span class="chip passed">better</span> {listed(flip.better)}</p>'
        f'<p><span class="chip failed">worse</span> {listed(flip.worse)}</p>'
    )


def _case(
    number: int, case: CaseRecord, record: SuiteRecord, cells: dict[tuple[str, str], CellRecord]
) -> str:
    own = [cells[case.id, prompt.name] for prompt in record.prompts]
    chips = " ".join(f'<span class="chip {cell.status}">{_label(cell)}</span>' for cell in own)
    parts = [
        f'<details id="case-{number}"{" open" if any(c.status != "passed" for c in own) else ""}>',
        f"<summary><strong>{escape(case.id)}</strong> {_tags(case)} {chips}</summary>",
        f'<p class="dim">{escape(case.place)}</p>',
        *(
            f'<p class="dim">{escape(n)}</p><div class="text">{escape(t)}</div>'
            for n, t in case.inputs.items()
        ),
    ]
    if case.expected:
        parts.append(
            f'<p class="dim">expected</p><div class="text">{escape(" or ".join(case.expected))}</div>'
        )
    for cell in own:
        parts.append(f"<h3>{escape(cell.prompt)}</h3>")
        parts += [_answer(answer, len(cell.answers)) for answer in cell.answers]
    return "\n".join([*parts, "</details>"])


def _answer(answer: AnswerRecord, count: int) -> str:
    facts = [f"answer {answer.repeat + 1}"] if count > 1 else []
    if answer.score is not None:
        facts.append(f"score {answer.score:.2f}")
    if answer.latency_seconds is not None:
        facts.append(f"{answer.latency_seconds:.3g} s")
    if answer.cost is not None:
        facts.append(f"costs {answer.cost:.3g}")
    outcomes = "".join(_outcome(outcome) for outcome in answer.outcomes)
    return (
        f'<div class="text">{escape(answer.text) or "(empty)"}</div>'
        f'<p class="dim">{", ".join(facts)}</p><ul>{outcomes}</ul>'
    )


def _outcome(outcome: OutcomeRecord) -> str:
    weight = "" if outcome.weight == 1 else f" (weight {outcome.weight:g})"
    return (
        f'<li><span class="chip {outcome.status}">{_MARKS[outcome.status]} {_WORDS[outcome.status]}</span> '
        f'{escape(outcome.assertion)}{weight} <span class="dim">{escape(outcome.reason)}</span></li>'
    )


def _tags(case: CaseRecord) -> str:
    critical = ['<span class="tag critical">critical</span>'] if case.is_critical else []
    return " ".join([*critical, *(f'<span class="tag">{escape(tag)}</span>' for tag in case.tags)])


def _chip(status: CellStatus) -> str:
    return f'<span class="chip {status}">{_MARKS[status]} {_WORDS[status]}</span>'
