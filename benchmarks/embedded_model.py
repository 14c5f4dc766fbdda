"""How well the embedded model can be prompted and tuned: every way of adapting it, on the same rows.

    python benchmarks/embedded_model.py [--draws 5] [--only banking77_6] [--way prefix_tuning]
    python benchmarks/embedded_model.py --quick

Each (task, draw, way) is one line of the records file, with every prediction; what stands there for the same
model is not measured again, so the command can be stopped and started at will. It prints a table of all
records, then one line of JSON. `--quick` scores the stored predictions anew and trains one draw of one way
again; it exits with 1 if either disagrees with what is stored.
"""

import argparse
import json
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

if not __package__:
    # Run as a file, Python looks for modules beside it instead of above it.
    sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.embedded import perplexity, scaling, weights
from benchmarks.embedded.card import write_results
from benchmarks.embedded.comparison import (
    best_way,
    difference,
    log_loss_difference,
    mean_score,
    of_way,
    row_scores,
)
from benchmarks.embedded.prompts import train_on_all_rows
from benchmarks.embedded.tasks import Draw, all_draws, task_of
from tuningfork.evaluation.statistics import PairedDifference, mean_interval
from tuningfork.events import NullSink
from tuningfork.library.run_folder import RunFolder
from tuningfork.library.run_records import NO_PROMPT, TEXT_PROMPT, TUNED_PROMPT, TuneOptions
from tuningfork.models.frozen import FrozenModel
from tuningfork.models.loading import load_model
from tuningfork.recipes.preparation import Prepared, prepare
from tuningfork.recipes.search_space import objective_of
from tuningfork.recipes.tune import tune
from tuningfork.tasks.metrics import get_metric
from tuningfork.tasks.task import Task

PERPLEXITIES = Path(__file__).parent / "embedded" / "perplexity.json"
CORPUS = Path(__file__).parents[2] / "shared" / "corpus" / "corpus.jsonl.xz"
RECORDS = Path(__file__).parent / "embedded" / "records.jsonl"
BANKING77 = Path(__file__).parents[2] / "shared" / "data"
MAX_STEPS = 60
TWO_PLACES = "prompt_tuning, two places"
PROMPT_OPTIONS: dict[str, dict[str, Any]] = {
    "prompt_tuning": {"methods": ("prompt_tuning",), "learning_rates": (0.03, 0.1)},
    TWO_PLACES: {"methods": ("prompt_tuning",), "learning_rates": (0.03, 0.1), "placements": ("both",)},
    "prefix_tuning": {"methods": ("prefix_tuning",), "learning_rates": (0.03, 0.1, 0.2)},
    "idpg": {"methods": ("idpg",), "learning_rates": (0.003, 0.01)},
}
"""How the search of each way differs from that of `tune`."""
WEIGHT_RATES: dict[str, tuple[weights.Adapt, tuple[float, ...]]] = {
    "lora": (weights.lora, (1e-3, 3e-3)),
    "full fine-tuning": (weights.full, (3e-4, 1e-3)),
}
TFIDF = "tf-idf + logistic regression"
FEW_SHOT = "few-shot"
WAYS = (*PROMPT_OPTIONS, *WEIGHT_RATES, TFIDF)
"""What is measured on its own; the ways without training come along with prompt tuning."""
FIGURES = ("banking77_6", "review_sentiment", "ticket_routing", "order_extraction")
QUICK_TOLERANCE = 0.02
"""Share of predictions that may differ in a retraining, on another machine or number of threads."""

Record = dict[str, Any]


class Bench:
    """Measures ways and keeps their records."""

    def __init__(self, model: FrozenModel, records: Path, banking77: Path, work: Path) -> None:
        self._model = model
        self._path = records
        self._banking77 = banking77
        self._work = work
        self.weights = model.identity().weights
        self.records = [r for r in load_records(records) if r["model"] == self.weights]

    def measure(self, draw: Draw, way: str) -> None:
        """Add the records of `way`, unless they are there."""
        if any((r["draw"], r["way"]) == (draw.key, way) for r in self.records):
            return
        task = task_of(draw, self._banking77, self._work)
        if way in PROMPT_OPTIONS:
            self._measure_prompts(draw, way, task)
            return
        options = TuneOptions(seed=draw.number, max_steps=MAX_STEPS)
        prepared = prepare(task, self._model, options, NullSink())
        started = time.perf_counter()
        settings: Record = {}
        log_losses: list[float] = []
        if way == TFIDF:
            if task.labels is None:
                return
            predictions = weights.tfidf(prepared.rows, prepared.test)
        else:
            adapt, rates = WEIGHT_RATES[way]
            tuning = weights.WeightTuning(
                self._model, prepared, objective_of(prepared, options), adapt, MAX_STEPS, draw.number
            )
            found = tuning.run(rates)
            predictions, log_losses = found.evaluation.predictions, found.evaluation.log_losses
            settings = {"learning_rate": found.learning_rate, "steps": found.steps}
        seconds = time.perf_counter() - started
        self._add(draw, way, predictions, prepared, seconds, settings, log_losses)

    def _measure_prompts(self, draw: Draw, way: str, task: Task) -> None:
        options = options_of(way, draw.number)
        folder = tune(task, options, runs_folder=self._work / "runs", model=self._model)
        prepared = prepare(task, self._model, options, NullSink())
        rows = {row["source"]: row for row in folder.load_predictions()}
        for name in rows[prepared.test[0].source]["predictions"]:
            short = FEW_SHOT if name.startswith(FEW_SHOT) else way if name == TUNED_PROMPT else name
            if short != way and way != "prompt_tuning":
                continue
            found = [rows[example.source] for example in prepared.test]
            predictions = [row["predictions"][name] for row in found]
            log_losses = [row["log_losses"][name] for row in found]
            seconds = next(w.seconds for w in folder.result.ways if w.name == name)
            settings = settings_of(folder) if short == way else {}
            self._add(draw, short, predictions, prepared, seconds, settings, log_losses)

    def _add(
        self,
        draw: Draw,
        way: str,
        predictions: Sequence[str],
        prepared: Prepared,
        seconds: float,
        settings: Record,
        log_losses: Sequence[float],
    ) -> None:
        targets = [list(example.targets) for example in prepared.test]
        metric = prepared.task.metric
        record = {
            "draw": draw.key,
            "way": way,
            "model": self.weights,
            "metric": metric,
            "score": score(metric, predictions, targets),
            "seconds": round(seconds, 1),
            "settings": settings,
            "predictions": list(predictions),
            "targets": targets,
            "log_losses": [round(loss, 4) for loss in log_losses],
        }
        self.records.append(record)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
        print(f"{draw.key:<22} {way:<30} {record['score']:.3f}  {seconds:5.0f} s", flush=True)


def load_records(path: Path) -> list[Record]:
    """Every stored record."""
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def score(metric: str, predictions: Sequence[str], targets: Sequence[Sequence[str]]) -> float:
    """The mean of `metric`."""
    scores = get_metric(metric).score
    return float(np.mean([scores(p, t) for p, t in zip(predictions, targets, strict=True)]))


def options_of(way: str, seed: int) -> TuneOptions:
    """How a prompt is tuned here."""
    return TuneOptions(max_steps=MAX_STEPS, seed=seed, num_seeds=1, **PROMPT_OPTIONS[way])


def settings_of(folder: RunFolder) -> Record:
    """What the search of a run chose."""
    prompt = folder.load_prompt()[0]
    chosen = folder.result.candidates[-1]
    return {"kind": prompt.kind, "learning_rate": prompt.learning_rate, "steps": chosen.best_step}


def print_table(records: Iterable[Record]) -> None:
    """The mean over draws, its 95 % interval over test rows, and the worst and best draw."""
    groups: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in records:
        groups[record["draw"].rpartition("/")[0], record["way"]].append(record)
    print(
        f"{'task':<18} {'way':<28} {'draws':>5} {'n':>4}   mean  interval        draws           s  lr/steps"
    )
    for (task, way), found in sorted(groups.items(), key=lambda item: (item[0][0], mean_score(item[1]))):
        metric = get_metric(found[0]["metric"])
        interval = mean_interval(
            row_scores(found), bounds=(0.0, metric.maximum), rng=np.random.default_rng(0)
        )
        chosen = [r["settings"] for r in found if r["settings"].get("learning_rate")]
        settings = sorted({f"{c['learning_rate']:g}/{c['steps']}" for c in chosen})
        timed = [r["seconds"] for r in found if r["seconds"] is not None]
        seconds = f"{np.median(timed):.0f}" if timed else "-"
        scores = [r["score"] for r in found]
        print(
            f"{task:<17} {way:<28} {len(found):>5} {len(found[0]['targets']):>4}  {mean_score(found):.3f}  "
            f"[{interval.low:.3f}, {interval.high:.3f}]  {min(scores):.3f}-{max(scores):.3f}  "
            f"{seconds:>5}  {' '.join(settings)}"
        )


def differences(records: Sequence[Record]) -> list[str]:
    """The best kind of prompt of each task against words and against full fine-tuning, a line each."""
    lines = []
    for task in dict.fromkeys(record["draw"].rpartition("/")[0] for record in records):
        way = best_way(records, task, PROMPT_OPTIONS)
        for baseline in (TEXT_PROMPT, "full fine-tuning"):
            found = None if way is None else difference(records, task, way, baseline)
            if found is not None:
                lines.append(f"{task}: {way} - {baseline} {_with_interval(found)}")
        loss = None if way is None else log_loss_difference(records, task, way, TEXT_PROMPT)
        if loss is not None:
            lines.append(f"{task}: log-loss in nats, {way} - {TEXT_PROMPT} {_with_interval(loss)}")
    return lines


def _with_interval(found: PairedDifference) -> str:
    low, high = found.interval.low, found.interval.high
    return f"{found.mean:+.3f} [{low:+.3f}, {high:+.3f}], {found.verdict}"


def measured_perplexities(model: FrozenModel, corpus: Path) -> dict[str, perplexity.Perplexity]:
    """Perplexity by source, kept from an earlier call for the same weights; nothing without a corpus."""
    weights_hash = model.identity().weights
    found = perplexity.load(PERPLEXITIES, weights_hash)
    if not found and corpus.is_file():
        found = perplexity.perplexities(model, corpus)
        perplexity.save(PERPLEXITIES, weights_hash, found)
    return found


def print_perplexities(sources: Mapping[str, perplexity.Perplexity]) -> None:
    """A line for each source."""
    for source, found in sources.items():
        print(
            f"{source:<32} perplexity {found['perplexity']:>8.2f}  "
            f"({found['documents']} documents, {found['tokens']} tokens, validation split)"
        )


def figures(records: Sequence[Record]) -> dict[str, float | None]:
    """The figures of the last line; None where nothing was measured."""

    def mean(task: str, ways: Iterable[str]) -> float | None:
        way = best_way(records, task, ways)
        return None if way is None else round(mean_score(of_way(records, task, way)), 4)

    best = {task: mean(task, PROMPT_OPTIONS) for task in FIGURES}
    return {
        "banking77_6way": best["banking77_6"],
        "banking77_6way_full_ft": mean("banking77_6", ["full fine-tuning"]),
        "banking77_6way_text": mean("banking77_6", [TEXT_PROMPT, FEW_SHOT, NO_PROMPT]),
        **{task: best[task] for task in FIGURES[1:]},
        "package_mb": round(package_bytes() / 1e6, 1),
    }


def package_bytes() -> int:
    """Size of the installed package, the model included."""
    found = find_spec("tuningfork")
    assert found is not None
    assert found.submodule_search_locations is not None
    folder = Path(found.submodule_search_locations[0])
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file() and "__pycache__" not in p.parts)


def check_quickly(model: FrozenModel, records: Sequence[Record], banking77: Path) -> list[str]:
    """What disagrees with the stored records; nothing, if all is well."""
    found = [
        f"{r['draw']} {r['way']}: stored {r['score']:.4f}, scored anew {again:.4f}"
        for r in records
        if abs((again := score(r["metric"], r["predictions"], r["targets"])) - r["score"]) > 1e-9
    ]
    wanted = ("banking77_6/0", "prefix_tuning")
    stored = next((r for r in records if (r["draw"], r["way"]) == wanted), None)
    if stored is None:
        return [*found, f"no record of {' '.join(wanted)} for this model; run without --quick first"]
    with tempfile.TemporaryDirectory() as work:
        predictions = retrain(model, stored, banking77, Path(work))
    share = np.mean([a != b for a, b in zip(predictions, stored["predictions"], strict=True)])
    print(f"Retrained {' '.join(wanted)}: {share:.1%} of {len(predictions)} predictions differ")
    if share > QUICK_TOLERANCE:
        found.append(f"{' '.join(wanted)}: {share:.1%} of the predictions differ from the stored ones")
    return found


def retrain(model: FrozenModel, record: Record, banking77: Path, work: Path) -> list[str]:
    """Train the prompt of `record` again with the settings that were chosen; its predictions on test."""
    name, _, number = record["draw"].rpartition("/")
    task = task_of(Draw(name, int(number)), banking77, work)
    options = options_of(record["way"], int(number)).model_copy(
        update={"learning_rates": (record["settings"]["learning_rate"],)}
    )
    return train_on_all_rows(model, task, options, record["settings"]["steps"], work).predictions


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="check the stored records, under a minute")
    parser.add_argument("--draws", type=int, default=5, help="choices of rows and seeds for each task")
    parser.add_argument("--only", action="append", help="task; repeat for several")
    parser.add_argument("--way", action="append", choices=WAYS, help="way; repeat for several")
    parser.add_argument(
        "--scaling", nargs=2, action="append", default=[], metavar=("FOLDER", "TOKENS"),
        help="another model of the recipe and how many tokens it saw; repeat for several",
    )  # fmt: skip
    parser.add_argument("--card", type=Path, help="model card to put the results into")
    parser.add_argument("--model", default="bundled", help="model folder or name")
    parser.add_argument("--records", type=Path, default=RECORDS, help="file of the records")
    parser.add_argument("--corpus", type=Path, default=CORPUS, help="for perplexity, where there is one")
    parser.add_argument("--banking77", type=Path, default=BANKING77, help="folder of banking77_*.csv")
    return parser.parse_args(arguments)


def main() -> int:
    """Measure what is not yet in the records, and print all."""
    arguments = parse_arguments()
    model = load_model(arguments.model, dtype="float32")
    with tempfile.TemporaryDirectory() as work:
        bench = Bench(model, arguments.records, arguments.banking77, Path(work))
        problems: list[str] = []
        if arguments.quick:
            problems = check_quickly(model, bench.records, arguments.banking77)
        else:
            for draw in all_draws(arguments.draws):
                for way in arguments.way or WAYS:
                    if arguments.only is None or draw.name in arguments.only:
                        bench.measure(draw, way)
        print_table(bench.records)
        for line in differences(bench.records):
            print(line)
        for folder, tokens in arguments.scaling:
            scaling.measure(folder, float(tokens), arguments.banking77, Path(work))
        scaling.print_table(scaling.load())
        sources = measured_perplexities(model, arguments.corpus)
        print_perplexities(sources)
        if arguments.card:
            compared = differences(bench.records)
            write_results(arguments.card, bench.records, sources, sizes=scaling.load(), compared=compared)
        for problem in problems:
            print(problem, file=sys.stderr)
        print(json.dumps(figures(bench.records)))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
