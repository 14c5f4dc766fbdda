"""A corpus of a few hundred documents in which every family finds something."""

import json
import lzma
from collections.abc import Iterator
from pathlib import Path
from typing import Any

TOPICS = {
    "find movies": ("movie", "film", "picture", "comedy"),
    "reserve hotel": ("hotel", "room", "suite", "inn"),
    "get weather": ("weather", "forecast", "rain", "storm"),
    "find bus": ("bus", "coach", "shuttle", "tram"),
    "play song": ("song", "tune", "album", "record"),
    "check balance": ("balance", "account", "savings", "statement"),
}
CITIES = ("Oslo", "Lima", "Cairo", "Quito", "Perth", "Turin")
WISHES = ("I want a", "Please find a", "Show me one", "Can you get me a", "I need some", "Is there a")
KEPT_OUT = "The purple walrus asked politely for nine tickets to the moon"


def rows() -> Iterator[dict[str, Any]]:
    for intent, words in TOPICS.items():
        for word in words:
            for wish in WISHES:
                message = f"{wish} {word} for {CITIES[len(word) % 6]} today"
                yield task("sgd_intent", f"Message: {message}\nIntent:", intent)
                yield task(
                    "sgd_service", f"Topic of the message (a, b): {message} please", intent.split()[-1]
                )
    for city in CITIES:
        for wish in WISHES:
            for count in ("two", "3"):
                message = f"{wish} table for {count} in {city}"
                slots = {"city": city, "number of seats": count}
                yield task("sgd_slots", f"{message}\n\nJSON:", json.dumps(slots))
                yield task("sgd_slots", f"{wish} place in {city} for us\n\nJSON:", json.dumps({"city": city}))
    for number in range(60):
        yield task("quiz_who", f"Who has {number} apples and {number + 1} pears?", f"Person {number}")
        verdict = ("Positive", "Negative")[number % 2]
        review = (
            f"Title: Item {number}\nReview: It works on day {number}.\nIs the review positive or negative?"
        )
        yield task("amazon_polarity_Is_this_review", review, f"{verdict}<|endoftext|>")
        stars = str(number % 5 + 1)
        yield task("yelp_review_full_on_a_scale", f"Review: We came {number} times.\nOn a scale?", stars)
        yield task("empty_answers", f"Question {number}?", "<|endoftext|>")
        lines = [
            f"Customer: Do you have {WORDS[number % 8]} number {number}?",
            f"Agent: Yes, {number} of them.",
            "Customer: Good, thank you.",
            "Agent: You are welcome.",
        ]
        yield {"kind": "dialog", "src": "sgd", "text": "\n".join(lines)}
        sentence = " ".join(
            f"{SYLLABLES[(number + k) % 9]}{SYLLABLES[number * k % 8]}{SYLLABLES[k]}" for k in range(6)
        )
        text = f"The {sentence} was seen in {1900 + number}. A second {sentence} followed them there."
        yield {"kind": "text", "src": f"osbooks-{('us-history', 'astronomy')[number % 2]}", "text": text}
    yield {"kind": "text", "src": "osbooks-astronomy", "text": f"Once upon a time. {KEPT_OUT}. The end."}


SYLLABLES = ("ba", "do", "fi", "gu", "ke", "lo", "mi", "nu", "ra")
WORDS = ("river", "castle", "engine", "garden", "planet", "winter", "letter", "market")


def task(source: str, prompt: str, response: str) -> dict[str, Any]:
    return {"kind": "task", "src": source, "prompt": prompt, "response": response}


def write(path: Path) -> Path:
    with lzma.open(path, "wt", encoding="utf-8", preset=0) as file:
        for row in rows():
            file.write(json.dumps(row) + "\n")
    return path
