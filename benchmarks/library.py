"""How long a library of many versions takes to answer.

    python benchmarks/library.py            # 100,000 versions, a few minutes to fill it
    python benchmarks/library.py --quick    # 10,000 versions, under a minute

It fills a library in bulk (texts of a kilobyte, lineages of two, a real chain of events), then times what
users call, on SQLite or, with --library URL, in an empty PostgreSQL database. It prints a table and one line
of JSON; all times are medians in milliseconds.
"""

import argparse
import json
import os
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

if not __package__:
    # Run as a file, Python looks for modules beside it instead of above it.
    sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.full_library import VERSIONS_EACH, fill, prompt_name, vocabulary
from tuningfork.library.canonical import hash_bytes
from tuningfork.library.contents import Content, Contract, Lineage
from tuningfork.library.listing import Filter
from tuningfork.library.store import Library
from tuningfork.library.verification import verify

FULL, QUICK = 100_000, 10_000
_ARTIFACT_BYTES = 1_000_000
_LIMITS_MS = {"register": 50.0}
_LIMIT_MS = 20.0
_FIGURES = {
    "lookup_ms": "lookup of an alias",
    "list_ms": "list",
    "search_ms": "search",
    "diff_ms": "diff",
    "register_ms": "register",
}
"""The last line's names, and the operations that they are of."""

Prepare = Callable[[random.Random], Callable[[], object]]
"""Draws what is asked for, before the clock starts; what it returns is timed."""


def operations(library: Library, num_prompts: int) -> dict[str, Prepare]:
    """What is timed, by name; each call asks for something else."""
    words = vocabulary()

    def listing(wanted: Filter) -> Prepare:
        return lambda chance: partial(library.prompts, wanted, after=_any_prompt(num_prompts, chance))

    return {
        "lookup of an alias": lambda chance: partial(library.get, _any_with_alias(num_prompts, chance)),
        "list": listing(Filter()),
        "list, of a folder": listing(Filter(folder="team07")),
        "list, with a tag": listing(Filter(tag="checked")),
        "list, with a rare tag": listing(Filter(tag="rare")),
        "list, of a kind": listing(Filter(kind="soft")),
        "list, with an alias": listing(Filter(alias="staging")),
        "list, of an owner": listing(Filter(owner="dora")),
        "search": lambda chance: partial(library.search, chance.choice(words)),
        "search, two words": lambda chance: partial(library.search, " ".join(chance.sample(words[:500], 2))),
        "search, a frequent word": lambda chance: partial(library.search, chance.choice(words[:10])),
        "show": lambda chance: partial(library.page, _any_prompt(num_prompts, chance)),
        "diff": lambda chance: partial(library.diff, *_any_two_versions(num_prompts, chance)),
        "register": lambda chance: partial(
            register, library, _any_prompt(num_prompts, chance), chance.randbytes(_ARTIFACT_BYTES)
        ),
    }


def _any_prompt(num_prompts: int, chance: random.Random) -> str:
    return prompt_name(chance.randrange(num_prompts))


def _any_with_alias(num_prompts: int, chance: random.Random) -> str:
    # The first of three prompts has no alias, the others are in production.
    number = chance.randrange(num_prompts)
    return prompt_name(number if number % 3 else max(1, number - 1))


def _any_two_versions(num_prompts: int, chance: random.Random) -> tuple[str, str]:
    name = _any_prompt(num_prompts, chance)
    first, second = chance.sample(range(1, VERSIONS_EACH + 1), 2)
    return f"{name}@{first}", f"{name}@{second}"


def register(library: Library, name: str, tensors: bytes) -> object:
    """Add a version with one large file."""
    content = Content(
        kind="soft",
        text="Which queue is it for?",
        contract=Contract(task_type="classification"),
        files={"prompt.safetensors": hash_bytes(tensors)},
    )
    lineage = Lineage(origin="tune", config={"method": "prompt_tuning"})
    return library.register(name, content, {"prompt.safetensors": tensors}, lineage, author="ann")


def time_all(
    library: Library, num_prompts: int, repeats: int, say: Callable[[str], None]
) -> dict[str, list[float]]:
    """Milliseconds of every call, by operation; the operations take turns."""
    chance, asked = random.Random(2), operations(library, num_prompts)
    times: dict[str, list[float]] = {name: [] for name in asked}
    for repeat in range(repeats + 1):
        for name, prepare in asked.items():
            call = prepare(chance)
            started = time.perf_counter()
            call()
            if repeat:
                # The first call of each also prepares its statements.
                times[name].append(1000 * (time.perf_counter() - started))
        if repeat and repeat % 50 == 0:
            say(f"{repeat} of {repeats} rounds")
    return times


def table(times: dict[str, list[float]]) -> list[str]:
    """Lines of a table: median, 95th percentile and the limit of each median."""
    lines = [f"{'operation':26}{'median ms':>10}{'95 % ms':>10}{'limit ms':>10}"]
    for name, found in times.items():
        high = sorted(found)[min(len(found) - 1, int(0.95 * len(found)))]
        limit = _LIMITS_MS.get(name, _LIMIT_MS)
        lines.append(f"{name:26}{statistics.median(found):>10.2f}{high:>10.2f}{limit:>10.0f}")
    return lines


def figures(times: dict[str, list[float]]) -> dict[str, float]:
    """The medians that are compared from one version of tuningfork to the next."""
    return {key: round(statistics.median(times[name]), 2) for key, name in _FIGURES.items()}


def measure(library: Library, num_versions: int, repeats: int) -> dict[str, list[float]]:
    """Fill an empty library, verify it, and time all operations."""
    started = time.perf_counter()
    num_prompts = fill(library, num_versions)
    _say(f"{num_versions:,} versions of {num_prompts:,} prompts in {time.perf_counter() - started:.0f} s")
    times = time_all(library, num_prompts, repeats, _say)
    started = time.perf_counter()
    found = verify(library)
    _say(f"Verified {found.num_events:,} events in {time.perf_counter() - started:.0f} s")
    if not found.passed:
        raise SystemExit(f"the library is not whole: {found.problems[:3]}")
    return times


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """What is asked for on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK:,} versions in place of {FULL:,}")
    parser.add_argument("--versions", type=int, help="another number of versions")
    parser.add_argument("--repeats", type=int, help="calls of each operation")
    parser.add_argument("--library", help="URL of an empty PostgreSQL database")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print a table and one line of JSON."""
    options = parse_arguments(arguments)
    num_versions = options.versions or (QUICK if options.quick else FULL)
    repeats = options.repeats or (100 if options.quick else 300)
    with TemporaryDirectory(prefix="tuningfork-library-") as made:
        folder = Path(made)
        with Library(options.library or folder, artifacts=folder / "artifacts") as library:
            times = measure(library, num_versions, repeats)
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"\n{num_versions:,} versions, {repeats} calls each; load {load} on {os.cpu_count()} cores\n")
    print("\n".join(table(times)))
    print(json.dumps(figures(times)))
    return 0


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
