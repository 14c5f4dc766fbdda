"""What `tuningfork doctor` prints; imports the heavy parts."""

import json

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tuningfork.models.loading import load_model
from tuningfork.models.machine import MachineFact, Status, describe_machine

_PATHS = {
    "shared": "shared prefix",
    "plain": "plain, one row at a time",
    "encoder-decoder": "encoder and decoder, the prompt read with each row",
    "encoder": "encoder, prompt and row together",
}
_STYLES = {"ok": "green", "advice": "yellow", "problem": "red"}


def examine(model: str | None, *, as_json: bool) -> None:
    """Print facts about the machine and, if asked, about `model`."""
    facts = [*describe_machine().rows(), *(_model_facts(model) if model else ())]
    if as_json:
        print(
            json.dumps(
                [
                    {"name": fact.name, "value": fact.value, "status": fact.status, "advice": fact.advice}
                    for fact in facts
                ]
            )
        )
        return
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for fact in facts:
        value = Text(fact.value)
        if fact.advice:
            value.append(f"\n{fact.advice}", style="dim")
        table.add_row(Text(fact.status, style=_STYLES[fact.status]), fact.name, value)
    Console().print(table)


def _model_facts(name: str) -> list[MachineFact]:
    model = load_model(name)
    path = _PATHS[model.support.path]
    status: Status = "advice" if model.support.path == "plain" else "ok"
    limit = f"{model.maximum_length} tokens" if model.maximum_length else "no limit named"
    return [
        MachineFact("model", f"{model.name}, {model.num_parameters / 1e6:.1f} M parameters, {limit}"),
        MachineFact("model runs as", f"{model.dtype} on {model.device}".replace("torch.", "")),
        MachineFact("model path", f"{path}: {model.support.reason}", status),
    ]
