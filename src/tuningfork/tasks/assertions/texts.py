"""Assertions on the words of an answer."""

import json
import unicodedata
from collections.abc import Callable, Sequence

import regex

from tuningfork.errors import TaskError
from tuningfork.tasks.assertions.answer import Check, CheckedAnswer, Finding, Found, Skipped, Undecided, shown
from tuningfork.tasks.assertions.declaration import Declared, Kind
from tuningfork.tasks.assertions.patterns import SEARCH_SECONDS, compile_pattern, search

_WORD = regex.compile(r"\w+(?:['\u2019\-]\w+)*")
_CHARACTER = regex.compile(r"\X")
_SENTENCE_END = regex.compile(r"(?:[.!?…]+[\"'\u201d\u2019»)\]]*(?=\s|$)|[\u3002\uff01\uff1f]+|\n+)")
# Scripts that put no spaces between words: a term is looked for anywhere there.
_UNSPACED = regex.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]")


def _folded(text: str) -> str:
    """`text` so that equal words are equal: without case and invisible characters, in one normal form."""
    composed = unicodedata.normalize("NFKC", text).casefold()
    visible = "".join(letter for letter in composed if unicodedata.category(letter) != "Cf")
    return unicodedata.normalize("NFKC", visible)


def _read_contains(declared: Declared) -> Check:
    terms = declared.texts()
    ignores_case = declared.flag("ignore_case")
    wants_all = declared.choice("match", ("all", "any")) == "all"

    def check(answer: CheckedAnswer) -> Finding:
        text = answer.text.casefold() if ignores_case else answer.text
        present = [term for term in terms if (term.casefold() if ignores_case else term) in text]
        missing = [term for term in terms if term not in present]
        if not wants_all:
            score = float(bool(present))
            return Found(
                score, f"contains {_listed(present)}" if present else f"has none of {_listed(terms)}"
            )
        if missing:
            return Found(len(present) / len(terms), f"does not contain {_listed(missing)}")
        return Found(1.0, f"contains {_listed(terms)}")

    return check


def _read_regex(declared: Declared) -> Check:
    patterns = declared.texts()
    ignores_case = declared.flag("ignore_case")
    for pattern in patterns:
        try:
            compile_pattern(pattern, ignores_case=ignores_case)
        except TaskError as error:
            raise TaskError(f"{declared.kind}: {error}") from error

    def check(answer: CheckedAnswer) -> Finding:
        for pattern in patterns:
            try:
                match = search(pattern, answer.text, ignores_case=ignores_case)
            except TimeoutError:
                return Undecided(
                    f"searching {shown(pattern)} took more than {SEARCH_SECONDS:g} s on this answer; "
                    "write it without nested repetition"
                )
            if match is None:
                return Found(0.0, f"does not match {shown(pattern)}")
        return Found(1.0, f"matches {_listed(patterns)}")

    return check


def _read_equals(declared: Declared) -> Check:
    ignores_case = declared.flag("ignore_case")
    if isinstance(declared.value, dict):
        return _equals_json(declared.value)
    wanted = None if declared.value is None else declared.texts()

    def key(text: str) -> str:
        return text.strip().casefold() if ignores_case else text.strip()

    def check(answer: CheckedAnswer) -> Finding:
        right = answer.expected if wanted is None else wanted
        if not right:
            return Skipped("the row has no expected answer to compare with")
        if key(answer.text) in {key(text) for text in right}:
            return Found(1.0, f"equals {shown(answer.text)}")
        return Found(0.0, f"expected {_listed(right, 'or')}, found {shown(answer.text)}")

    return check


def _equals_json(wanted: object) -> Check:
    def check(answer: CheckedAnswer) -> Finding:
        try:
            found = json.loads(answer.text)
        except (ValueError, RecursionError):
            return Found(0.0, f"is not JSON: {shown(answer.text)}")
        if found == wanted:
            return Found(1.0, "equals the expected JSON")
        return Found(0.0, f"expected {shown(json.dumps(wanted, ensure_ascii=False))}, found other JSON")

    return check


def _read_edge(is_start: bool) -> Callable[[Declared], Check]:
    word = "start" if is_start else "end"

    def read(declared: Declared) -> Check:
        edges = declared.texts()
        ignores_case = declared.flag("ignore_case")

        def check(answer: CheckedAnswer) -> Finding:
            text = answer.text.strip()
            compared = text.casefold() if ignores_case else text
            for edge in edges:
                sought = edge.casefold() if ignores_case else edge
                if compared.startswith(sought) if is_start else compared.endswith(sought):
                    return Found(1.0, f"{word}s with {shown(edge)}")
            found = shown(text[:40] if is_start else text[-40:])
            return Found(0.0, f"does not {word} with {_listed(edges, 'or')}; it {word}s with {found}")

        return check

    return read


def _count_sentences(text: str) -> int:
    return sum(1 for part in _SENTENCE_END.split(text) if _WORD.search(part))


_COUNTS: dict[str, Callable[[str], int]] = {
    "characters": lambda text: sum(1 for _ in _CHARACTER.finditer(text)),
    "words": lambda text: sum(1 for _ in _WORD.finditer(text)),
    "sentences": _count_sentences,
}
_UNITS = (*_COUNTS, "tokens")


def _read_length(declared: Declared) -> Check:
    value = declared.value
    if not isinstance(value, dict) or not value.keys() <= {"min", "max", "unit"}:
        raise TaskError(
            f"{declared.kind}: expected min, max or both, and a unit ({', '.join(_UNITS)}), as in "
            f"{{max: 40, unit: words}}; found {value!r:.60}"
        )
    if not value.keys() & {"min", "max"}:
        raise TaskError(f"{declared.kind}: expected min, max or both, found neither")
    least = declared.as_number(value.get("min", 0), ": min")
    most = declared.as_number(value["max"], ": max") if "max" in value else None
    if most is not None and most < least:
        raise TaskError(f"{declared.kind}: max {most:g} is below min {least:g}")
    unit = value.get("unit", _UNITS[0])
    if unit not in _UNITS:
        raise TaskError(f"{declared.kind}: unit: expected one of {', '.join(_UNITS)}, found {unit!r:.60}")

    def check(answer: CheckedAnswer) -> Finding:
        count = answer.count_tokens if unit == "tokens" else _COUNTS[unit]
        if count is None:
            return Skipped("tokens cannot be counted without the model")
        length = count(answer.text)
        fact = f"has {length} {unit[:-1] if length == 1 else unit}"
        if length < least:
            return Found(0.0, f"{fact}, at least {least:g} are expected")
        if most is not None and length > most:
            return Found(0.0, f"{fact}, at most {most:g} are allowed")
        return Found(1.0, fact)

    return check


def _read_forbidden_terms(declared: Declared) -> Check:
    terms = declared.texts()
    patterns = [(term, _term_pattern(term)) for term in terms if _folded(term).strip()]
    if not patterns:
        raise TaskError(f"{declared.kind}: expected terms with letters, found {_listed(terms)}")

    def check(answer: CheckedAnswer) -> Finding:
        text = _folded(answer.text)
        present = [term for term, pattern in patterns if pattern.search(text)]
        if present:
            return Found(
                0.0, f"contains the forbidden {'term' if len(present) == 1 else 'terms'} {_listed(present)}"
            )
        return Found(1.0, "contains no forbidden term")

    return check


def _terms_of(text: str) -> list[str]:
    """One term a line; empty lines and lines that begin with # are left out."""
    lines = (line.strip() for line in text.splitlines())
    terms = [line for line in lines if line and not line.startswith("#")]
    if not terms:
        raise ValueError("it holds no terms")
    return terms


def _term_pattern(term: str) -> "regex.Pattern[str]":
    words = _folded(term).split()
    first, last = words[0][0], words[-1][-1]
    before = r"(?<!\w)" if regex.match(r"\w", first) and not _UNSPACED.match(first) else ""
    after = r"(?!\w)" if regex.match(r"\w", last) and not _UNSPACED.match(last) else ""
    return regex.compile(before + r"\s+".join(regex.escape(word) for word in words) + after)


def _listed(texts: Sequence[str], joint: str = "and") -> str:
    quoted = [shown(text, 40) for text in texts[:4]]
    if len(texts) > 4:
        return f"{', '.join(quoted)} {joint} {len(texts) - 4} more"
    return f" {joint} ".join(filter(None, (", ".join(quoted[:-1]), quoted[-1])))


_CASE = frozenset({"ignore_case"})

TEXT_KINDS = (
    Kind("contains", _read_contains, _CASE | {"match"}, default_threshold=1.0),
    Kind("regex", _read_regex, _CASE),
    Kind("equals", _read_equals, _CASE, needs_expected=lambda declared: declared.value is None),
    Kind("starts_with", _read_edge(is_start=True), _CASE),
    Kind("ends_with", _read_edge(is_start=False), _CASE),
    Kind("length", _read_length),
    Kind("forbidden_terms", _read_forbidden_terms, parse_file=_terms_of),
)
