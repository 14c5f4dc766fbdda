"""The language of an answer, by its script and by the small words of its language.

No model and no download: enough to see that a German question was answered in English, not more. One word, a
name or a number has no language here, and languages that are not listed are not known.
"""

from collections import Counter

import regex

from tuningfork.errors import TaskError
from tuningfork.tasks.assertions.answer import Check, CheckedAnswer, Finding, Found, Skipped, shown
from tuningfork.tasks.assertions.declaration import Declared, Kind
from tuningfork.tasks.assertions.function_words import FUNCTION_WORDS
from tuningfork.tasks.suggestions import did_you_mean

_LATIN = tuple(language for language in FUNCTION_WORDS if language not in ("ru", "uk"))
_SCRIPT_LANGUAGES: dict[str, tuple[str, ...]] = {
    "Latin": _LATIN,
    "Cyrillic": ("ru", "uk"),
    "Greek": ("el",),
    "Arabic": ("ar",),
    "Hebrew": ("he",),
    "Devanagari": ("hi",),
    "Thai": ("th",),
    "Hangul": ("ko",),
    "Kana": ("ja",),
    "Han": ("zh",),
}
LANGUAGES = tuple(sorted({language for each in _SCRIPT_LANGUAGES.values() for language in each}))
"""ISO 639-1 codes of the languages that are told apart."""

_SCRIPTS = {
    name: regex.compile(r"[\p{Hiragana}\p{Katakana}]" if name == "Kana" else rf"\p{{{name}}}")
    for name in _SCRIPT_LANGUAGES
}
# Letters that a language of the script does not have, and others do.
_FOREIGN_LETTERS = {
    "ru": "іїєґў",
    "uk": "ыэъёў",
    "ar": "پچژگکی",
    "hi": "ळ",
}
_WORD = regex.compile(r"[^\W\d_]+(?:['\u2019](?=[^\W\d_])[^\W\d_]+)?")
_ELISION = regex.compile(r"^([^\W\d_]{1,2}|qu|un)['\u2019](?=.)")
_LEAST_EVIDENCE = 1.5
_LEAST_LEAD = 1.25
_LEAST_SHARE = 0.12
_ENOUGH_WORDS = 12
"""A text of so many words that shows no language is not in the one that is expected."""
_SHARED = Counter(word for words in FUNCTION_WORDS.values() for word in words)


def detect_language(text: str) -> str | None:
    """Return the ISO 639-1 code of the language of `text`, or None where too little tells.

    Where several scripts are mixed, that of most letters decides. A script that several listed languages
    share is told apart by function words: each counts 1 / (listed languages that have it), and the first
    language must have at least 1.5 in all, a quarter more than the second, and one function word in eight.
    """
    script = _main_script(text)
    if script is None:
        return None
    candidates = _SCRIPT_LANGUAGES[script]
    folded = text.casefold()
    possible = [
        language
        for language in candidates
        if not any(letter in folded for letter in _FOREIGN_LETTERS.get(language, ""))
    ]
    if len(candidates) == 1:
        return possible[0] if possible else None
    return _by_words(_words(folded), possible)


def _main_script(text: str) -> str | None:
    counts = {name: sum(1 for _ in letters.finditer(text)) for name, letters in _SCRIPTS.items()}
    total = sum(counts.values())
    if total < 4:
        return None
    if counts["Kana"] * 20 >= counts["Kana"] + counts["Han"] > 0:
        # Japanese writes with Han letters between its own.
        counts["Kana"] += counts.pop("Han")
    best = max(counts, key=lambda name: counts[name])
    return best if counts[best] * 2 > total else None


def _words(folded: str) -> list[str]:
    found = []
    for word in _WORD.findall(folded.replace("\u2019", "'")):
        if elided := _ELISION.match(word):
            found += [elided[0], word[elided.end() :], word]
        else:
            found.append(word)
    return found


def _by_words(words: list[str], languages: list[str]) -> str | None:
    evidence = {
        language: sum(1 / _SHARED[word] for word in words if word in FUNCTION_WORDS[language])
        for language in languages
    }
    first, *others = sorted(evidence, key=lambda language: -evidence[language])
    hits = sum(word in FUNCTION_WORDS[first] for word in words)
    if evidence[first] < _LEAST_EVIDENCE or hits < _LEAST_SHARE * len(words):
        return None
    leads = all(evidence[first] >= _LEAST_LEAD * evidence[other] for other in others)
    return first if leads else None


def _read_language(declared: Declared) -> Check:
    wanted = declared.texts()
    for language in wanted:
        if language not in LANGUAGES:
            raise TaskError(
                f"language: {language!r} is not among those told apart: {did_you_mean(language, LANGUAGES)}; "
                f"all: {', '.join(LANGUAGES)}"
            )

    def check(answer: CheckedAnswer) -> Finding:
        found = detect_language(answer.text)
        if found is None:
            if len(_WORD.findall(answer.text)) < _ENOUGH_WORDS:
                return Skipped(f"too little tells the language of {shown(answer.text)}")
            return Found(0.0, f"does not read as {' or '.join(wanted)}: {shown(answer.text)}")
        if found in wanted:
            return Found(1.0, f"is in {found}")
        return Found(0.0, f"is in {found}, expected {' or '.join(wanted)}")

    return check


LANGUAGE_KINDS = (Kind("language", _read_language),)
