"""Rows that join and leave a running batch, against one unpadded row each."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.models.test_instance import instance_prompt
from tests.models.test_late import HALFWAY, SCATTERED, deep_model, partial_prefix
from tests.models.test_low_rank import adapted
from tests.peft_reference import with_peft_layers
from tests.tiny_models import SLIDING, SLIDING_WINDOW, build_model, random_ids, tiny_model
from tests.unpadded_reference import (
    LogitsOf,
    embed,
    make_prompt,
    offset_row_logits,
    random_embeddings,
    row_logits,
    row_logits_after,
    shifted_row_logits,
)
from tuningfork.errors import PromptError
from tuningfork.models.artefacts import DecomposedPrompt, InputPrompt, KeyValuePrefix, PlacedPrompt
from tuningfork.models.classification_head import ClassificationHead
from tuningfork.models.frozen import FrozenModel
from tuningfork.models.opening import Opening
from tuningfork.models.prefix import PrefixState
from tuningfork.models.reading import RunningRows
from tuningfork.models.shared import SharedPrefixPath
from tuningfork.models.slots import RowSlots

TOLERANCE = 1e-4
VISIBLE = 1e-2
PARTLY_SLIDING = {
    "use_sliding_window": True,
    "sliding_window": SLIDING_WINDOW,
    "max_window_layers": 1,
    "num_hidden_layers": 3,
}
ARCHITECTURES = ("llama", "gpt2", "qwen3", "mistral", "qwen2 partly sliding", "gemma2", "gemma3")
WHOLE = 1000


@cache
def model_of(architecture: str) -> FrozenModel:
    if architecture == "qwen2 partly sliding":
        return build_model("qwen2", **PARTLY_SLIDING)
    return tiny_model(architecture)


@dataclass
class Guest:
    """A row that joins at one step and leaves at another."""

    prefix: PrefixState
    alone: LogitsOf
    ids: list[int]
    joins: int
    leaves: int
    piece: int = WHOLE
    made: list[int] = field(default_factory=list)


Visit = tuple[int, int, int, int]
VISITS: list[Visit] = [
    (3, 0, 9, WHOLE),
    (8, 0, 3, WHOLE),
    (1, 2, 6, WHOLE),
    (21, 3, 12, 4),
    (2, 4, 8, WHOLE),
    (7, 9, 14, 3),
    (12, 12, 15, 5),
]
"""Tokens of a row, when it joins and leaves, and how many tokens are read at once."""


def guests(prompts: Sequence[tuple[PrefixState, LogitsOf]], visits: Sequence[Visit] = VISITS) -> list[Guest]:
    """Rows behind `prompts` in turn, so that some share one."""
    return [
        Guest(*prompts[index % len(prompts)], random_ids(count, seed=index), joins, leaves, piece)
        for index, (count, joins, leaves, piece) in enumerate(visits)
    ]


def behind(model: FrozenModel, length: int) -> tuple[PrefixState, LogitsOf]:
    """Virtual tokens in front, or nothing, and what a row behind them gives alone."""
    virtual = random_embeddings(model.network, length, seed=length)
    state = model.prefix([InputPrompt(virtual)] if length else [])
    return state, lambda ids, _: row_logits(model.network, virtual, ids)


def different_lengths(model: FrozenModel) -> list[tuple[PrefixState, LogitsOf]]:
    """Prompts longer and shorter than the window, one token, and none."""
    return [behind(model, length) for length in (4, 0, 9, 1, 6)]


@torch.no_grad()
def worst_difference(model: FrozenModel, visitors: Sequence[Guest], rows: RunningRows | None = None) -> float:
    """How far logits of any row are, at any step, from those of that row alone and unpadded."""
    rows, present, worst = rows or model.running_rows(), list[Guest](), 0.0

    def compare(guest: Guest, logits: Tensor) -> None:
        nonlocal worst
        alone = guest.alone([*guest.ids, *guest.made], len(guest.ids))[-1]
        worst = max(worst, float((logits - alone).abs().max()))
        # Any token will do; that which is likeliest is often the same.
        guest.made += random_ids(1, seed=len(guest.made) + 100 * guest.joins + len(guest.ids))

    for step in range(max(guest.leaves for guest in visitors)):
        if present:
            logits = rows.step([guest.made[-1] for guest in present])
            for guest, of_row in zip(present, logits, strict=True):
                compare(guest, of_row)
        rows.leave([place for place, guest in enumerate(present) if guest.leaves == step])
        present = [guest for guest in present if guest.leaves != step]
        for guest in visitors:
            if guest.joins == step:
                reading = rows.begin(guest.prefix, guest.ids)
                while not reading.is_read:
                    last = rows.read(reading, guest.piece)
                rows.join(reading)
                compare(guest, last[-1])
                present.append(guest)
        assert rows.num_rows == len(present)
    return worst


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_rows_that_come_and_go_have_the_logits_of_rows_alone(architecture: str) -> None:
    model = model_of(architecture)
    visitors = guests(different_lengths(model))
    assert worst_difference(model, visitors) <= TOLERANCE


def of_every_kind(model: FrozenModel) -> list[tuple[PrefixState, LogitsOf]]:
    """Text, keys and values, placed virtual tokens, offsets, an instance prompt, virtual tokens, none."""
    network, count = model.network, 6
    text = make_prompt(model, "tokens", count)
    keys = make_prompt(model, "key_value", count)
    tokens = random_embeddings(network, 3, seed=9)
    placed = torch.cat([embed(network, [7]), tokens[:1], embed(network, [9])])
    generator = torch.Generator().manual_seed(5)
    down, up = (torch.randn(size, generator=generator) for size in ((5, 2), (2, tokens.shape[1])))
    offset, instance = DecomposedPrompt(tokens, down, up), instance_prompt(model)
    return [
        (model.prefix(text.segments), lambda ids, _: row_logits(network, text.embedded, ids)),
        (model.prefix(keys.segments), lambda ids, _: row_logits(network, keys.embedded, ids)),
        (
            model.prefix([PlacedPrompt(tokens, (7, -1, 9))]),
            lambda ids, _: row_logits(network, placed, ids),
        ),
        (model.prefix([offset]), partial(offset_row_logits, network, offset)),
        (model.prefix([instance]), partial(shifted_row_logits, network, instance)),
        behind(model, 4),
        behind(model, 0),
    ]


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "opt", "bloom", "gemma2"])
def test_prompts_of_every_kind_share_a_batch(architecture: str) -> None:
    model = tiny_model(architecture)
    visits = [*VISITS, (4, 5, 12, 2), (9, 6, 13, 4), (2, 7, 15, 1)]
    assert worst_difference(model, guests(of_every_kind(model), visits)) <= TOLERANCE


@pytest.mark.parametrize("architecture", ["llama", "mistral", "gemma2"])
def test_rows_whose_prompts_enter_at_different_layers_share_a_batch(architecture: str) -> None:
    model = deep_model(architecture)
    late = [partial_prefix(model, HALFWAY, 8), partial_prefix(model, SCATTERED, 3)]
    prompts: list[tuple[PrefixState, LogitsOf]] = [
        (model.prefix([late[0]]), partial(_after, model, late[0])),
        behind(model, 4),
        (model.prefix([late[1]]), partial(_after, model, late[1])),
    ]
    assert worst_difference(model, guests(prompts)) <= TOLERANCE


def _after(model: FrozenModel, prompt: KeyValuePrefix, ids: Sequence[int], _: int) -> Tensor:
    return row_logits_after(model.network, prompt.layers, ids)


def test_virtual_tokens_stand_inside_a_row() -> None:
    model, rows = tiny_model("llama"), tiny_model("llama").running_rows()
    tokens = random_embeddings(model.network, 2, seed=9)
    row = [5, -1, 6, -2, 8]
    reading = rows.begin(model.prefix([PlacedPrompt(tokens, (7,))]), row)
    found = torch.cat([rows.read(reading, 2, wants_all=True) for _ in range(3)])
    words = embed(model.network, [7, 5, 0, 6, 0, 8])
    words[2], words[4] = tokens
    with torch.no_grad():
        expected = model.network(inputs_embeds=words[None]).logits[0, 1:]
    assert float((found - expected).abs().max()) <= TOLERANCE


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_rows_behind_adapters_run_beside_those_without(architecture: str) -> None:
    model = tiny_model(architecture)
    prompts = [behind(model, 4), behind(model, 0)]
    for seed in (1, 2):
        prompt, virtual = adapted(model, seed)
        network = with_peft_layers(model.network, prompt.update)
        prompts.append((model.prefix([prompt]), partial(_through, network, virtual)))
    visitors = guests(prompts)
    assert worst_difference(model, visitors) <= TOLERANCE
    # Two rows behind each adapter, so that a mixed-up row shows.
    assert [len([guest for guest in visitors if guest.prefix is state]) for state, _ in prompts] == [
        2,
        2,
        2,
        1,
    ]


def _through(network: Any, virtual: Tensor, ids: Sequence[int], _: int) -> Tensor:
    return row_logits(network, virtual, ids)


@pytest.mark.parametrize("piece", [1, 3, WHOLE])
@pytest.mark.parametrize("index", range(7))
def test_a_row_has_logits_after_each_of_its_tokens(index: int, piece: int) -> None:
    model = tiny_model("gemma2")
    state, alone = of_every_kind(model)[index]
    ids, rows, found = random_ids(8, seed=3), model.running_rows(), list[Tensor]()
    reading = rows.begin(state, ids)
    before = rows.logits_before(reading)
    while not reading.is_read:
        found.append(rows.read(reading, piece, wants_all=True))
    with torch.no_grad():
        expected = alone(ids, len(ids))
    assert float((torch.cat(found) - expected).abs().max()) <= TOLERANCE
    if state.states is None:
        assert before is None
    else:
        assert before is not None
        last = model.prompt_logits(state, [state.num_tokens - 1])[0]
        assert float((before - last).abs().max()) <= TOLERANCE


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "bloom", "mistral", "gemma2"])
def test_rows_that_are_read_together_run_on_as_if_read_alone(architecture: str) -> None:
    model = tiny_model(architecture)
    prompt, virtual = adapted(model, 1)
    through = with_peft_layers(model.network, prompt.update)
    prompts = of_every_kind(model)
    prompts.append((model.prefix([prompt]), partial(_through, through, virtual)))
    visitors = guests(prompts, [(1 + 5 * index % 13, 0, 9, WHOLE) for index in range(12)])
    rows = model.running_rows()
    first = rows.begin(model.prefix([[5, 6]]), [7, 8, 9])
    rows.read(first, WHOLE)
    rows.join(first)
    readings = [rows.begin(guest.prefix, guest.ids) for guest in visitors]
    logits = rows.read_together(readings)
    assert all(reading.is_read for reading in readings)
    for reading in readings:
        rows.join(reading)
    made = [random_ids(4, seed=index) for index in range(len(visitors))]
    with torch.no_grad():
        for step in range(4):
            for guest, of_row, tokens in zip(visitors, logits, made, strict=True):
                alone = guest.alone([*guest.ids, *tokens[:step]], len(guest.ids))[-1]
                assert float((of_row - alone).abs().max()) <= TOLERANCE
            logits = rows.step([11, *(tokens[step] for tokens in made)])[1:]


def test_a_row_without_a_token_runs_behind_its_prompt() -> None:
    model = tiny_model("llama")
    (state, alone), rows = behind(model, 4), model.running_rows()
    reading = rows.begin(state, [])
    assert reading.is_read
    rows.join(reading)
    with torch.no_grad():
        expected = alone([11], 0)
    assert float((rows.step([11]) - expected).abs().max()) <= TOLERANCE


def test_what_cannot_be_continued_is_refused() -> None:
    model = tiny_model("llama")
    rows = model.running_rows()
    head = ClassificationHead(torch.zeros(2, model.hidden_size), torch.zeros(2))
    with pytest.raises(PromptError, match="says no words"):
        rows.begin(PrefixState(0, head=head), [5])
    for state in (model.prefix([]), model.prefix([partial_key_values(model)])):
        with pytest.raises(PromptError, match="a row without a token needs a prompt that ends in tokens"):
            rows.begin(state, [])
    with pytest.raises(PromptError, match="place for virtual token 1"):
        rows.begin(model.prefix([]), [5, -1])


def partial_key_values(model: FrozenModel) -> KeyValuePrefix:
    segments = make_prompt(model, "key_value", 5).segments
    assert isinstance(segments[0], KeyValuePrefix)
    return segments[0]


def test_a_failed_step_is_as_if_it_had_not_been(monkeypatch: pytest.MonkeyPatch) -> None:
    model = build_model("llama")
    visitors = guests(different_lengths(model))
    rows, path = model.running_rows(), model._path
    follow, calls = path.follow, 0  # type: ignore[attr-defined]
    step = rows.step

    def failing(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls % 2:
            follow(*arguments)
            raise RuntimeError("out of memory")
        return follow(*arguments)

    def again(tokens: Sequence[int]) -> Tensor:
        with pytest.raises(RuntimeError, match="out of memory"):
            step(tokens)
        return step(tokens)

    monkeypatch.setattr(path, "follow", failing)
    monkeypatch.setattr(rows, "step", again)
    assert worst_difference(model, visitors, rows) <= TOLERANCE


# Faults that must show.

Plant = Callable[[pytest.MonkeyPatch], None]


def plant_padding_behind_the_prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorter rows are padded between prompt and text, and the mask hides it."""
    join = RowSlots.join

    def apart(part: Tensor) -> Tensor:
        return torch.cat([part[:, :, :2], torch.zeros_like(part[:, :, :3]), part[:, :, 2:]], dim=2)

    def padded(self: RowSlots, layers: Any, lengths: Sequence[int], empty: Any = None) -> None:
        pairs = [(apart(keys), apart(values)) for keys, values in layers]
        join(self, pairs, [lengths[0] + 3], empty)

    monkeypatch.setattr(RowSlots, "join", padded)


def plant_positions_kept_after_a_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys and values move up, lengths stay those of the rows that were first."""
    leave = RowSlots.leave

    def kept(self: RowSlots, places: Any) -> None:
        before = list(self.lengths)
        leave(self, places)
        self.lengths = before[: len(self.lengths)]

    monkeypatch.setattr(RowSlots, "leave", kept)


def plant_rows_left_where_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last rows go, whichever were to leave."""
    leave = RowSlots.leave

    def wrong(self: RowSlots, places: Any) -> None:
        kept = [length for place, length in enumerate(self.lengths) if place not in places]
        leave(self, range(len(kept), len(self.lengths)))
        self.lengths = kept

    monkeypatch.setattr(RowSlots, "leave", wrong)


def plant_padding_that_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        RowSlots, "past", lambda self, device: torch.full((len(self.lengths),), self.num_slots)
    )


def plant_a_prompt_that_rows_write_into(monkeypatch: pytest.MonkeyPatch) -> None:
    """A row is read into the keys and values of its prompt, which the next one then follows."""
    open_rows, caches = SharedPrefixPath.open_rows, dict[int, Any]()

    def written(self: SharedPrefixPath, rows: Any, prefixes: Any) -> Opening:
        opening = open_rows(self, rows, prefixes)
        return replace(opening, cache=caches.setdefault(id(prefixes[0]), opening.cache))

    monkeypatch.setattr(SharedPrefixPath, "open_rows", written)


@pytest.mark.parametrize(
    ("plant", "architectures"),
    [
        (plant_padding_behind_the_prompt, ("llama", "mistral")),
        (plant_positions_kept_after_a_leave, ("llama", "gpt2")),
        (plant_rows_left_where_they_were, ("llama",)),
        (plant_padding_that_is_seen, ("llama", "gpt2", *SLIDING)),
        (plant_a_prompt_that_rows_write_into, ("llama",)),
    ],
)
def test_a_planted_fault_shows(
    monkeypatch: pytest.MonkeyPatch, plant: Plant, architectures: Sequence[str]
) -> None:
    plant(monkeypatch)
    for architecture in architectures:
        model = tiny_model(architecture)
        assert worst_difference(model, guests(different_lengths(model))) > VISIBLE
