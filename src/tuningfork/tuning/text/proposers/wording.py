"""Requests as words for a language model, and instructions as they stand in its answers."""

import re

from tuningfork.tuning.text.proposers.request import Request

_MARKED = re.compile(r"<instruction>(.*?)(?:</instruction>|\Z)", re.DOTALL | re.IGNORECASE)
_FENCED = re.compile(r"```[^\n]*\n(.*?)```", re.DOTALL)
_HEADED = re.compile(
    r"\A(?:(?:sure|certainly|of course)\b[^\n]*\n+|(?:new |improved )?instruction:\s*)", re.IGNORECASE
)
_QUOTES = {'"': '"', "'": "'", "\u201c": "\u201d", "\u2018": "\u2019"}

_ASKS = {
    "paraphrase": "Write the same instruction in other words. Keep what it asks for.",
    "combine": "Combine the two instructions into one that has the best of both, and change a few words.",
    "improve": "Write a new instruction that differs from all of these and would score higher.",
    "describe": "Write the instruction that somebody was given who gave these answers to these inputs.",
    "reflect": (
        "Find out what the mistakes have in common, and write a better instruction that would avoid them. "
        "Keep what is right about the old one."
    ),
}
_END = "Write only the new instruction, between <instruction> and </instruction>."


def asked(request: Request) -> str:
    """What a language model is told."""
    parts = []
    if request.labels:
        parts.append(f"The possible answers are: {', '.join(request.labels)}.")
    for given, answer in request.examples:
        parts.append(f"Input: {given}\nAnswer: {answer}")
    if request.scored:
        parts += [f"Instruction: {text}\nScore: {round(100 * score)}" for text, score in request.scored]
    if request.instruction:
        parts.append(f"Instruction:\n{request.instruction}")
    if request.other:
        parts.append(f"Another instruction:\n{request.other}")
    if request.mistakes:
        parts += [f"Mistake: {mistake}" for mistake in request.mistakes]
    task = _ASKS[request.kind]
    parts.append(f"{task} {request.tip}".strip())
    parts.append(_END)
    return "\n\n".join(parts)


def said(answer: str) -> str:
    """The instruction in an answer: what is marked, or fenced, or else all but an opening phrase."""
    marked = _MARKED.search(answer) or _FENCED.search(answer)
    text = (marked[1] if marked else _HEADED.sub("", answer.strip())).strip()
    if len(text) > 1 and _QUOTES.get(text[0]) == text[-1]:
        text = text[1:-1].strip()
    return text
