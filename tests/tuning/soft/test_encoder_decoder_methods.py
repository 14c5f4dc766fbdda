"""Every soft-prompt method on encoder-decoder models: it works as anywhere, or says that it does not."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from tests.encoder_decoder_reference import embed, opened_logits
from tests.tiny_models import BOS, build_model, tiny_model
from tests.training.toy_task import (
    ANSWERS,
    TEXT,
    TRAINSET,
    VALSET,
    RecordingSink,
    assert_checkpoints_equal,
    toy_candidate,
    toy_objective,
    train_toy,
)
from tests.unpadded_reference import relative_difference
from tuningfork.errors import PromptError
from tuningfork.library.artefact_files import load_artefact, save_artefact
from tuningfork.models.artefacts import (
    DecomposedPrompt,
    EncoderDecoderPrompt,
    HeadedPrefix,
    InputPrompt,
    KeyValuePrefix,
    PlacedPrompt,
    SoftPrompt,
)
from tuningfork.models.frozen import FrozenModel
from tuningfork.training.checkpoint import Checkpoint
from tuningfork.training.loop import Training
from tuningfork.training.objectives import ChoiceObjective
from tuningfork.training.step import accumulate_gradients
from tuningfork.tuning.soft.decoder_placement import InFrontOfDecoder, stands_at_decoder
from tuningfork.tuning.soft.method import ShowsRows, SoftMethod, begin
from tuningfork.tuning.soft.registry import SOFT_METHODS
from tuningfork.types import TokenIds, TrainingRow

# Contracts over many models; `make test-slow` runs them.
pytestmark = pytest.mark.slow

IMPOSSIBLE = [m for m in SOFT_METHODS.values() if m.kind in ("late", "instance") or isinstance(m, ShowsRows)]
WORDS = tuple(TEXT[1:])


def at_its_side(method: SoftMethod) -> SoftMethod:
    """Where a search has it: keys and values in front of the decoder, with the text as words."""
    return InFrontOfDecoder(method, WORDS) if stands_at_decoder(method) else method


METHODS: dict[str, SoftMethod] = {
    name: at_its_side(method) for name, method in SOFT_METHODS.items() if method not in IMPOSSIBLE
}
METHODS["tokens before the decoder"] = InFrontOfDecoder(SOFT_METHODS["prompt_tuning"], WORDS)
METHODS["tokens on both sides"] = InFrontOfDecoder(SOFT_METHODS["residual_prompt_tuning"], (-1, WORDS[0], -2))

working = pytest.mark.parametrize("method", METHODS.values(), ids=list(METHODS))


def start(model: FrozenModel, method: SoftMethod) -> nn.Module:
    return begin(method, model, model.embed(TEXT).float(), rows=TRAINSET, num_labels=len(ANSWERS))


@torch.no_grad()
def move(module: nn.Module) -> None:
    generator = torch.Generator().manual_seed(0)
    for parameter in module.parameters():
        parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))


def answer_logits(model: FrozenModel, prompt: SoftPrompt, words: TokenIds, answer: TokenIds) -> Tensor:
    """Logits (1 + T, V) of one row, unpadded, behind its own copy of `prompt`."""
    network, row = model.network, embed(model.network, words)
    match prompt:
        case InputPrompt(embeddings=virtual):
            return opened_logits(network, torch.cat([virtual, row]), answer)
        case DecomposedPrompt(embeddings=virtual, offsets=offsets):
            count = min(len(row), len(offsets))
            moved = torch.cat([row[:count] + offsets[:count], row[count:]])
            return opened_logits(network, torch.cat([virtual, moved]), answer)
        case EncoderDecoderPrompt(encoder=encoder, decoder=decoder):
            front = embed(network, encoder if isinstance(encoder, tuple) else [encoder.prefix_ids[1]])
            if isinstance(encoder, PlacedPrompt):
                front = torch.cat([encoder.embeddings[:1], front, encoder.embeddings[1:]])
            read = torch.cat([front, row])
            if isinstance(decoder, InputPrompt):
                return opened_logits(network, read, answer, decoder=decoder.embeddings)
            layers: Any = (decoder.prefix if isinstance(decoder, HeadedPrefix) else decoder).layers
            return opened_logits(network, read, answer, layers=layers)
    raise AssertionError(prompt)


def row_loss(model: FrozenModel, prompt: SoftPrompt, row: TrainingRow) -> Tensor:
    """What a row adds to the loss: of each of its label tokens or, with a head, of its label."""
    split = row.label_positions[0]
    words, answer = row.ids[:split], row.ids[split:]
    decoder = prompt.decoder if isinstance(prompt, EncoderDecoderPrompt) else None
    if not isinstance(decoder, HeadedPrefix):
        logits = answer_logits(model, prompt, words, answer[:-1])
        return cross_entropy(logits, torch.tensor(answer), reduction="sum")
    states: list[Tensor] = []
    head: Any = model.network.get_output_embeddings()  # type: ignore[no-untyped-call]
    hook = head.register_forward_pre_hook(lambda _, inputs: states.append(inputs[0]))
    answer_logits(model, prompt, words, [])
    hook.remove()
    assert row.choice is not None
    # T5 scales states before its head where that is tied, and a head of ours reads them as they were.
    scale = states[0].shape[-1] ** 0.5 if getattr(model.network.config, "scale_decoder_outputs", False) else 1
    return -decoder.head.log_probabilities(states[0][0, -1:] * scale)[0, row.choice]


@pytest.mark.parametrize("method", IMPOSSIBLE, ids=lambda method: method.name)
@pytest.mark.parametrize("architecture", ["t5", "bart"])
def test_what_cannot_be_done_is_said_at_the_start_in_one_line(architecture: str, method: SoftMethod) -> None:
    model = tiny_model(architecture)
    with pytest.raises(PromptError, match=rf"{architecture} reads each row.*use prompt tuning") as raised:
        start(model, method)
    assert "\n" not in str(raised.value)


@working
def test_only_the_prompt_gets_gradients(method: SoftMethod) -> None:
    model = tiny_model("t5")
    module = start(model, method)
    move(module)
    objective = toy_objective_of(method)
    accumulate_gradients(model, method.materialize(module), TRAINSET, micro_batch_size=4, objective=objective)
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name
    assert all(weight.grad is None and not weight.requires_grad for weight in model.network.parameters())


def toy_objective_of(method: SoftMethod) -> Any:
    """As `toy_objective`, which goes by the kind of the method that is placed."""
    return toy_objective(SOFT_METHODS[method.name])


@working
@pytest.mark.parametrize("architecture", ["t5", "bart"])
def test_loss_and_gradient_equal_those_of_single_rows(architecture: str, method: SoftMethod) -> None:
    model = tiny_model(architecture)
    module = start(model, method)
    move(module)
    objective = toy_objective_of(method)
    prompt = method.materialize(module)
    total = torch.stack([row_loss(model, prompt, row) for row in TRAINSET]).sum()
    expected = total / objective.count(TRAINSET)
    wanted = torch.autograd.grad(expected, list(module.parameters()))
    found = accumulate_gradients(
        model, method.materialize(module), TRAINSET, micro_batch_size=5, objective=objective
    )
    assert abs(found - expected.item()) <= 1e-4 * max(1.0, expected.item())
    given = [parameter.grad for parameter in module.parameters() if parameter.grad is not None]
    assert relative_difference(given, wanted) <= 1e-4


@working
def test_labels_are_told_apart_as_rows_that_are_scored_alone(method: SoftMethod) -> None:
    model = tiny_model("bart")
    module = start(model, method)
    move(module)
    prompt = method.materialize(module)
    rows = [row.ids[: row.label_positions[0]] for row in TRAINSET]
    with torch.no_grad():
        state = model.prefix([prompt])
        together = model.score(rows, state, ANSWERS)
        alone = torch.cat([model.score([row], state, ANSWERS) for row in rows])
    assert float((together - alone).abs().max()) <= 1e-4
    if state.head is None:
        with torch.no_grad():
            for row, scores in zip(rows[:3], together, strict=False):
                for choice, score in zip(ANSWERS, scores, strict=True):
                    after = answer_logits(model, prompt, row, choice[:-1]).log_softmax(dim=-1)
                    expected = sum(after[step, token] for step, token in enumerate(choice))
                    assert abs(float(score - expected)) <= 1e-4


@working
def test_training_lowers_the_loss_and_leaves_every_weight_bit_equal(
    method: SoftMethod, tmp_path: Path
) -> None:
    model, sink = build_model("bart"), RecordingSink()
    identity = model.identity()
    weights = {name: weight.clone() for name, weight in model.network.state_dict().items()}
    candidate = toy_candidate(
        model, method, max_steps=40, validate_every=20, objective=toy_objective_of(method)
    )
    # A head starts from two equal labels, at 0.69, and learns few rows of a random network by heart only.
    has_head = isinstance(candidate.objective, ChoiceObjective)
    gain = 0.25 if has_head else 0.4
    train_toy(model, candidate, tmp_path / "toy", valset=TRAINSET if has_head else VALSET, sink=sink)
    assert sum(sink.losses[-5:]) / 5 < sink.losses[0] - gain
    assert sink.validations[-1].log_loss < sink.validations[0].log_loss - gain
    for name, weight in model.network.state_dict().items():
        assert torch.equal(weight, weights[name]), name
    assert model.identity(fresh=True) == identity


@working
def test_a_training_that_was_cut_off_goes_on_bit_equal(method: SoftMethod, tmp_path: Path) -> None:
    model = tiny_model("t5_v1_1")
    candidate = toy_candidate(model, method, objective=toy_objective_of(method))
    train_toy(model, candidate, tmp_path / "whole")
    train_toy(model, candidate, tmp_path / "cut", until_step=7)
    train_toy(model, candidate, tmp_path / "cut")
    assert_checkpoints_equal(Checkpoint.load(tmp_path / "cut"), Checkpoint.load(tmp_path / "whole"))


@working
def test_a_prompt_that_was_saved_says_the_same(method: SoftMethod, tmp_path: Path) -> None:
    model = tiny_model("t5")
    candidate = toy_candidate(model, method, objective=toy_objective_of(method))
    training = Training(model, candidate, TRAINSET, higher_is_better=True)
    for _ in range(3):
        training.step()
    prompt = training.outcome().prompt
    save_artefact(prompt, tmp_path / "prompt.safetensors", {})
    loaded, _ = load_artefact(tmp_path / "prompt.safetensors")
    assert torch.equal(_scores(model, loaded), _scores(model, prompt))
    untrained = method.materialize(start(model, method)).detached()
    assert not torch.allclose(_scores(model, prompt), _scores(model, untrained), atol=1e-2)
    assert loaded.num_virtual_tokens == prompt.num_virtual_tokens


def _scores(model: FrozenModel, prompt: SoftPrompt) -> Tensor:
    rows: Sequence[TokenIds] = [row.ids[: row.label_positions[0]] for row in TRAINSET]
    with torch.no_grad():
        return model.score(rows, model.prefix([prompt]), ANSWERS)


@working
@pytest.mark.parametrize("architecture", ["t5", "bart"])
def test_step_0_equals_the_text_prompt_where_the_method_says_so(
    architecture: str, method: SoftMethod
) -> None:
    model = tiny_model(architecture)
    prompt = method.materialize(start(model, method)).detached()
    rows = [row.ids[: row.label_positions[0]] for row in TRAINSET]
    text = model.score(rows, model.prefix([TEXT]), ANSWERS)
    gap = float((_scores(model, prompt) - text).abs().max())
    assert (gap <= 1e-4) == method.equals_text_at_start


def test_keys_and_values_start_as_the_decoder_makes_them_of_the_text() -> None:
    """Its encoder has read the text, and the decoder is given it in place of an answer."""
    model = tiny_model("t5_v1_1")
    network: Any = model.network
    virtual = embed(network, TEXT)
    with torch.no_grad():
        made = network(inputs_embeds=virtual[None], decoder_inputs_embeds=virtual[None], use_cache=True)
    layers = made.past_key_values.self_attention_cache.layers
    at_decoder = [
        name
        for name, method in METHODS.items()
        if name in SOFT_METHODS and stands_at_decoder(SOFT_METHODS[name])
    ]
    assert len(at_decoder) >= 4
    for name in at_decoder:
        prompt = METHODS[name].materialize(start(model, METHODS[name]))
        assert isinstance(prompt, EncoderDecoderPrompt)
        assert prompt.encoder == WORDS
        prefix = prompt.decoder.prefix if isinstance(prompt.decoder, HeadedPrefix) else prompt.decoder
        assert isinstance(prefix, KeyValuePrefix)
        for pair, layer in zip(prefix.layers, layers, strict=True):
            assert pair is not None
            assert float((pair[0] - layer.keys[0]).detach().abs().max()) <= 1e-5
            assert float((pair[1] - layer.values[0]).detach().abs().max()) <= 1e-5
    assert BOS in TEXT
