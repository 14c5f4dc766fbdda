"""Rules about what the words of a prompt say."""

import re

from tuningfork.tasks.lint.rule import Found, Rule, Specimen, Subject

_NEGATION = re.compile(
    r"\b(?:not|never|no|without|avoid|rather than|instead of|\w+n't)\W+(?:\w+\W+){0,3}$", re.I
)

_CONTRADICTIONS = (
    (
        r"\b(?:be|keep it|answer|reply|write|stay) (?:very )?(?:brief|short|concise|terse)(?:ly)?\b"
        r"|\bin (?:a|one) (?:single )?(?:word|sentence)\b|\bwith one word\b"
        r"|\bas (?:briefly|short) as possible\b",
        r"\bin (?:great |full |more )?detail\b|\bdetailed (?:answer|reply|explanation|response)\b"
        r"|\b(?:be|answer|reply) (?:very )?(?:thorough|exhaustive|comprehensive)(?:ly)?\b|\bat length\b"
        r"|\bas (?:long|detailed) as possible\b|\bstep by step\b",
        "asks for both short and long answers",
    ),
    (
        r"\b(?:formal|professional) (?:tone|language|style)\b|\bbe formal\b|\bformally\b",
        r"\b(?:casual|informal|chatty|playful) (?:tone|language|style)\b|\bbe (?:casual|informal|chatty)\b",
        "asks for both a formal and a casual tone",
    ),
    (
        r"\b(?:only|just|valid) JSON\b|\bJSON (?:only|object and nothing else)\b|\bas JSON\b|\bin JSON\b",
        r"\b(?:plain text|prose|markdown|bullet points?) (?:only|and nothing else)\b"
        r"|\bin plain (?:text|prose)\b",
        "asks for both JSON and plain text",
    ),
    (
        r"\b(?:only|nothing but) the (?:label|answer|name|queue|category|class)\b|\band nothing else\b"
        r"|\bwith (?:[\w']+ ){1,4}only\b",
        r"\b(?:explain|justify|give reasons for) your (?:answer|choice|reasoning|decision)\b|\bsay why\b",
        "asks for the answer alone and for an explanation",
    ),
)

_LOADED = {
    r"obviously|needless to say|as (?:everyone|everybody) knows|it goes without saying": (
        "takes the answer for granted"
    ),
    r"crazy|insane|idiot(?:s|ic)?|moron(?:s|ic)?|stupid|dumb|lame": "insults",
    r"illegal aliens?|illegals|third[- ]world": "is loaded; name what is meant",
    r"gyps(?:y|ies)|eskimos?|orientals?|retarded|handicapped|cripples?": "is a slur, or taken as one",
    r"normal people|real (?:men|women|americans)": "says who counts as normal",
    r"mankind|manpower|policem[ae]n|chairm[ae]n|stewardess(?:es)?|housewi(?:fe|ves)": "names one sex for all",
    r"so-called|propaganda|radical (?:left|right)|woke|fascists?|snowflakes?": "takes sides",
}

_FORMAT = re.compile(
    r"\b(?:answers?|repl(?:y|ies)|respon[ds]e?|outputs?|return|label|choose|pick|classify|say|write|give|list|"
    r"one of|only|nothing else|json|words?|sentences?|paragraphs?|bullets?|format|markdown|table|lines?|"
    r"yes or no|is this|which)\b",
    re.I,
)
_SECRETS = {
    "an OpenAI or Anthropic key": r"\bsk-(?:ant-|proj-)?[A-Za-z0-9_-]{20,}",
    "an AWS key": r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
    "a GitHub token": r"\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{50,})",
    "a Hugging Face token": r"\bhf_[A-Za-z0-9]{30,}",
    "a Google key": r"\bAIza[0-9A-Za-z_-]{35}",
    "a Slack token": r"\bxox[abprs]-[A-Za-z0-9-]{10,}",
    "a Stripe key": r"\b[rs]k_live_[A-Za-z0-9]{20,}",
    "a JSON web token": r"\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}",
    "a private key": r"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----",
    "a password": (
        r"(?i:\b(?:password|passwd|api[_-]?key|secret[_-]?key)\b\s*[:=]\s*['\"]?)"
        r"(?=[^\s'\"]*\d)[^\s'\"{}]{8,}"
    ),
    "an address with a password": r"\b[a-z][a-z0-9+.-]*://[^\s:/@{}]+:[^\s:/@{}]+@",
}


def _contradictions(subject: Subject) -> Found:
    for first, second, problem in _CONTRADICTIONS:
        one, other = (_asked(pattern, subject.said) for pattern in (first, second))
        if one is not None and other is not None:
            place = subject.line_of(max(one.start(), other.start()))
            yield place, f"{problem}: {_shown(one[0])} and {_shown(other[0])}"


def _asked(pattern: str, text: str) -> re.Match[str] | None:
    """The first place where `text` asks for what `pattern` says, and not for the opposite."""
    for found in re.finditer(_over_lines(pattern), text, re.IGNORECASE):
        if not _NEGATION.search(text[max(0, found.start() - 60) : found.start()]):
            return found
    return None


def _over_lines(pattern: str) -> str:
    """`pattern` with any white space where it has a space."""
    return pattern.replace(" ", r"\s+")


def _shown(text: str) -> str:
    return repr(" ".join(text.split()))


def _loaded(subject: Subject) -> Found:
    labels = {words.lower() for words in subject.labels.values()}
    for pattern, problem in _LOADED.items():
        for found in re.finditer(rf"\b(?:{_over_lines(pattern)})\b", subject.said, re.IGNORECASE):
            # A prompt may name what it is to find.
            is_named = subject.said[: found.start()].endswith(("'", '"', "`", "\u2018", "\u201c"))
            if found[0].lower() not in labels and not is_named:
                yield subject.line_of(found.start()), f"{_shown(found[0])} {problem}"


def _no_format(subject: Subject) -> Found:
    assert subject.task is not None
    task = subject.task
    if task.is_conversation or task.has_tags or task.template.num_answers:
        return
    said = subject.said.rstrip()
    if task.type == "extraction":
        if not re.search(r"json|fields?|keys?", said, re.IGNORECASE):
            yield "prompt", "does not say that answers are JSON, or with which keys"
    elif not _FORMAT.search(said) and not said.endswith((":", "=", "->", "?")):
        yield "prompt", "does not say what an answer looks like: how long, in which form, or one of which"


def _trailing_space(subject: Subject) -> Found:
    for number, line in enumerate(subject.prompt.split("\n"), start=1):
        if line != line.rstrip():
            yield f"prompt line {number}", "ends in a space, which nobody sees and the model reads"


def _secrets(subject: Subject) -> Found:
    for kind, pattern in _SECRETS.items():
        for found in re.finditer(pattern, subject.prompt):
            yield (
                subject.line_of(found.start()),
                f"{found[0][:6]}... looks like {kind}; whoever asks can read it",
            )


WORDING = (
    Rule(
        "contradiction",
        "warning",
        "instructions that exclude each other, such as brief and in detail",
        _contradictions,
        Specimen({"prompt": "Be brief. Answer with the queue, in detail.\nMessage: {{message}}"}),
        Specimen({"prompt": "Be brief; do not go on in detail. Name the queue.\nMessage: {{message}}"}),
    ),
    Rule(
        "loaded-wording",
        "warning",
        "words that insult, take sides, or take the answer for granted",
        _loaded,
        Specimen({"prompt": "Obviously, answer with the queue.\nMessage: {{message}}"}),
        Specimen({"prompt": "Answer with the obvious queue.\nMessage: {{message}}"}),
    ),
    Rule(
        "no-output-format",
        "warning",
        "no word on what an answer looks like",
        _no_format,
        Specimen({"prompt": "These are messages to a shop. {{message}}"}),
        Specimen({"prompt": "These are messages to a shop. {{message}}\nQueue:"}),
    ),
    Rule(
        "trailing-space",
        "warning",
        "a space at the end of a line",
        _trailing_space,
        Specimen({"prompt": "Answer with the queue. \nMessage: {{message}}"}),
        Specimen({"prompt": "Answer with the queue.\n\nMessage: {{message}}"}),
    ),
    Rule(
        "secret",
        "error",
        "a key, a token or a password",
        _secrets,
        Specimen({"prompt": "Answer with the queue. Use sk-proj-abcdefghij0123456789.\n{{message}}"}),
        Specimen({"prompt": "Answer with the queue. Never ask for a password: say so.\n{{message}}"}),
        needs_task=False,
    ),
)
