"""What a text search works with: rows, a model to prompt, a proposer, and vectors of rows."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from tuningfork.data.example import Example
from tuningfork.errors import PromptError
from tuningfork.evaluation.prices import load_prices
from tuningfork.events import EventSink, Notice
from tuningfork.library.comparison_folder import RemoteOptions
from tuningfork.library.optimization_folder import OptimizationOptions
from tuningfork.models.batch import batches_by_length
from tuningfork.models.frozen import FrozenModel
from tuningfork.models.loading import load_model
from tuningfork.models.remote import Price, RemoteModel
from tuningfork.models.remote_endpoint import RemoteSettings, default_cache_folder
from tuningfork.recipes.arrangement import row_format
from tuningfork.recipes.text_judges import LocalJudge, RemoteJudge, TextJudge
from tuningfork.recipes.text_rows import TextRows, local_rows, remote_rows
from tuningfork.tasks.encoding import TextEncoder
from tuningfork.tasks.rendering import RowRenderer
from tuningfork.tasks.task import Task
from tuningfork.tuning.text.candidates import PromptWriter
from tuningfork.tuning.text.proposers.endpoint import EndpointProposer
from tuningfork.tuning.text.proposers.local_model import LocalModelProposer
from tuningfork.tuning.text.proposers.request import Proposer
from tuningfork.tuning.text.proposers.rules import RuleProposer
from tuningfork.tuning.text.training_rows import Vectors
from tuningfork.tuning.text.vectors import word_vectors

_CONTROL = re.compile(r"<\|[^|\n]*\|>|\[/?INST\]|</?s>")
_ROWS_PER_FORWARD = 16


@dataclass(frozen=True, slots=True)
class Desk:
    """Everything but a budget and a log."""

    task: Task
    rows: TextRows
    judge: TextJudge
    proposer: Proposer
    model: FrozenModel | None
    """The local model that the prompt is for, if it is for one."""
    name: str
    """Of the model that the prompt is for."""
    vectorize: Callable[[Sequence[Example]], Vectors]
    may_show: Callable[[Example], bool]
    remotes: Sequence[RemoteModel] = ()
    """Models behind addresses that take part."""

    def close(self) -> None:
        """Close all connections; the next call opens new ones."""
        for remote in self.remotes:
            remote.close()


def desk_for(
    task: Task,
    options: OptimizationOptions,
    *,
    model: FrozenModel | None,
    dtype: str | None,
    money_spent: float,
    sink: EventSink,
) -> Desk:
    """Load, read and check what `options` name; `dtype` is that of the session before, if there was one.

    Raises:
        TuningForkError: of the kind that names what is wrong.
    """
    if options.remote is not None:
        return _remote_desk(task, options, options.remote, money_spent, sink)
    tuning = options.tuning
    base = model or load_model(
        tuning.model,
        device=tuning.device,
        dtype=dtype or tuning.dtype,
        quantize=tuning.quantize,
        announce=lambda message: sink.emit(Notice(message)),
    )
    if not base.says_words:
        raise PromptError(f"{base.name} says no words, so no text prompt suits it; use tune --head")
    writer = PromptWriter(task, ())
    rows = local_rows(task, base, tuning, sink)
    judge = LocalJudge(base, rows.room, rows.train[0], batch_size=tuning.batch_size)
    judge.measure_frame(writer.task(writer.base))
    encoder = TextEncoder(base.tokenizer)

    def may_show(example: Example) -> bool:
        return encoder.up_to_control(_all_text(example)) is None and _is_plain(example)

    proposer, remotes = _proposer(options, base, money_spent)
    vectorize = _features(base, task) if base.support.path == "shared" else _by_words
    return Desk(task, rows, judge, proposer, base, base.name, vectorize, may_show, remotes)


def _remote_desk(
    task: Task, options: OptimizationOptions, asked: RemoteOptions, money_spent: float, sink: EventSink
) -> Desk:
    remote, price = _remote_model(asked, options, money_spent)
    judge = RemoteJudge(remote, task, price=price)
    if (reason := remote.settings.why_no_key) is not None:
        raise PromptError(f"{remote.settings.host}: {reason}")
    if options.proposer == "model":
        raise PromptError(
            f"--proposer model is the local model, and {asked.model} is behind an address: use endpoint"
        )
    _ = PromptWriter(task, ())
    rows = remote_rows(task, options.tuning, sink)
    proposer, remotes = _proposer(options, None, money_spent)
    models = (remote, *remotes)
    return Desk(task, rows, judge, proposer, None, asked.model, _by_words, _is_plain, models)


def _proposer(
    options: OptimizationOptions, model: FrozenModel | None, money_spent: float
) -> tuple[Proposer, Sequence[RemoteModel]]:
    if options.proposer == "rules":
        return RuleProposer(), ()
    if options.proposer == "model":
        assert model is not None, "a model behind an address has been refused"
        if model.architecture != "decoder":
            raise PromptError(
                f"--proposer model: {model.name} is an {model.architecture}, which writes no instructions; "
                "use rules or endpoint"
            )
        return LocalModelProposer(model), ()
    asked = options.proposer_remote or options.remote
    if asked is None:
        raise PromptError("--proposer endpoint needs --proposer-model and --proposer-base")
    remote, price = _remote_model(asked, options, money_spent)
    return EndpointProposer(remote, price=price), (remote,)


def _remote_model(
    asked: RemoteOptions, options: OptimizationOptions, money_spent: float
) -> tuple[RemoteModel, Price | None]:
    """The model behind an address; its own limit of money is a second lock behind that of the search."""
    prices = load_prices(None if options.prices is None else Path(options.prices))
    found = prices.models.get(asked.model)
    price = None if found is None else found.of_call
    limit = options.budget_money
    settings = RemoteSettings(
        asked.base_url,
        asked.model,
        key_variable=asked.key_variable,
        allows_insecure=asked.allows_insecure,
        max_calls=asked.max_calls,
        max_money=None if limit is None else max(0.0, limit - money_spent),
        cache_folder=default_cache_folder(),
    )
    return RemoteModel(settings, price=price), price


def _features(model: FrozenModel, task: Task) -> Callable[[Sequence[Example]], Vectors]:
    """Mean hidden states of a row behind the hand-written prompt, in the lower half of the layers.

    That is where a small model keeps what a text is about.
    """

    @torch.no_grad()
    def vectorize(examples: Sequence[Example]) -> Vectors:
        renderer = RowRenderer(task, model.tokenizer, **row_format(model))
        rows = [renderer.row_ids(example) for example in examples]
        prefix = model.prefix([renderer.prefix_ids])
        count = int(getattr(model.network.config, "num_hidden_layers", 2))
        layers = range(1, max(2, count // 2 + 1))
        found = torch.empty(0)
        for indices in batches_by_length([len(row) for row in rows], _ROWS_PER_FORWARD):
            some = model.features([rows[index] for index in indices], prefix, layers).cpu()
            if not len(found):
                found = torch.empty(len(rows), some.shape[1])
            found[indices] = some
        # What all rows share, such as the words around them, tells none apart.
        return (found - found.mean(dim=0)).double().numpy()

    return vectorize


def _by_words(examples: Sequence[Example]) -> Vectors:
    return word_vectors([_input_text(example) for example in examples])


def _input_text(example: Example) -> str:
    return "\n".join([*example.inputs.values(), *(message.content for message in example.messages)])


def _all_text(example: Example) -> str:
    return "\n".join([_input_text(example), *example.targets[:1]])


def _is_plain(example: Example) -> bool:
    """Whether nothing in a row looks like a control token: in a prompt, unlike in data, it would be one."""
    return _CONTROL.search(_all_text(example)) is None
