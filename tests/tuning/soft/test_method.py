"""The contract that every soft-prompt method keeps, whichever it is."""

import re
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import tuningfork
from tests.tiny_models import (
    RECURRENT,
    build_model,
    build_network,
    build_tokenizer,
    cast_network,
    random_ids,
    tiny_model,
)
from tests.training.toy_task import (
    ANSWERS,
    TEXT,
    TRAINSET,
    VALSET,
    RecordingSink,
    toy_candidate,
    toy_objective,
    train_toy,
)
from tuningfork.models.artefacts import (
    DecomposedPrompt,
    HeadedPrefix,
    InputPrompt,
    InstancePrompt,
    KeyValuePrefix,
    SoftPrompt,
)
from tuningfork.models.frozen import FrozenModel
from tuningfork.training.checkpoint import Checkpoint
from tuningfork.training.loop import Candidate, Training
from tuningfork.training.step import accumulate_gradients
from tuningfork.tuning.soft.method import Constrained, ShowsRows, SoftMethod, begin
from tuningfork.tuning.soft.registry import SOFT_METHODS

PACKAGE = Path(tuningfork.__file__).parent
ROWS = [random_ids(length, seed=length) for length in (9, 1, 5)]
EVERYWHERE = [range(len(row)) for row in ROWS]
NUM_LABELS = len(ANSWERS)
ARTEFACTS = {
    "input": InputPrompt,
    "offset": DecomposedPrompt,
    "key-value": KeyValuePrefix,
    "late": KeyValuePrefix,
    "instance": InstancePrompt,
    "headed": HeadedPrefix,
}

pytestmark = pytest.mark.parametrize("method", SOFT_METHODS.values(), ids=list(SOFT_METHODS))


@pytest.fixture
def model() -> FrozenModel:
    return tiny_model("llama")


def start(model: FrozenModel, method: SoftMethod, ids: list[int]) -> nn.Module:
    """From the text alone: without rows, a method that shows rows shows none."""
    return begin(method, model, model.embed(ids).float(), num_labels=NUM_LABELS)


def restarted(method: SoftMethod, model: FrozenModel, candidate: Candidate) -> nn.Module:
    """What a training of `candidate` starts with."""
    generator = torch.Generator().manual_seed(candidate.arguments.seed)
    return begin(method, model, candidate.embeddings, generator, TRAINSET, num_labels=NUM_LABELS)


@torch.no_grad()
def move(module: nn.Module) -> None:
    """Move every parameter a little, each number by another amount."""
    generator = torch.Generator().manual_seed(0)
    for parameter in module.parameters():
        parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))


@torch.no_grad()
def effect(model: FrozenModel, prompt: SoftPrompt) -> Tensor:
    """What `prompt` makes of `ROWS`: all logits or, where it says no words, the scores of labels."""
    prefix = model.prefix([prompt])
    if prefix.head is not None:
        return model.score(ROWS, prefix, ANSWERS)
    return model.logits(ROWS, prefix, EVERYWHERE)


def outputs(model: FrozenModel, method: SoftMethod, module: nn.Module) -> Tensor:
    return effect(model, method.materialize(module))


def test_a_start_is_trainable_in_float32_and_no_part_of_the_model(
    model: FrozenModel, method: SoftMethod
) -> None:
    parameters = list(start(model, method, TEXT).parameters())
    assert parameters
    weights = {weight.untyped_storage().data_ptr() for weight in model.network.parameters()}
    for parameter in parameters:
        assert parameter.dtype == torch.float32
        assert parameter.requires_grad
        assert parameter.is_leaf
        assert parameter.untyped_storage().data_ptr() not in weights


def test_a_start_shares_nothing_with_other_starts(model: FrozenModel, method: SoftMethod) -> None:
    embeddings = model.embed(TEXT).float()
    first, second = (begin(method, model, embeddings, num_labels=NUM_LABELS) for _ in range(2))
    before, expected = embeddings.clone(), outputs(model, method, second)
    move(first)
    assert torch.equal(embeddings, before)
    assert torch.equal(outputs(model, method, second), expected)
    assert not torch.allclose(outputs(model, method, first), expected)


@pytest.mark.parametrize("num_virtual_tokens", [1, 5, 11])
def test_a_prompt_has_as_many_virtual_tokens_as_its_start(
    model: FrozenModel, method: SoftMethod, num_virtual_tokens: int
) -> None:
    prompt = method.materialize(start(model, method, random_ids(num_virtual_tokens, seed=3)))
    assert isinstance(prompt, ARTEFACTS[method.kind])
    assert prompt.num_virtual_tokens == num_virtual_tokens
    assert model.prefix([prompt]).num_tokens == num_virtual_tokens


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "gemma2", "gemma3"])
def test_step_0_equals_the_text_prompt(architecture: str, method: SoftMethod) -> None:
    if not method.equals_text_at_start:
        pytest.skip("the method says that it does not; its own tests say what holds instead")
    model = tiny_model(architecture)
    expected = model.logits(ROWS, model.prefix([TEXT]), EVERYWHERE)
    assert expected.std() > 0.9
    found = outputs(model, method, start(model, method, TEXT))
    assert (found - expected).abs().max() <= 1e-5
    without = model.logits(ROWS, model.prefix([]), EVERYWHERE)
    assert (without - expected).abs().max() > 0.1


def test_step_0_equals_the_text_prompt_with_the_rows_that_are_shown(
    model: FrozenModel, method: SoftMethod
) -> None:
    if not method.equals_text_at_start:
        pytest.skip("the method says that it does not; its own tests say what holds instead")
    module = begin(method, model, model.embed(TEXT).float(), rows=TRAINSET)
    shown = method.shown_rows(module) if isinstance(method, ShowsRows) else ()
    assert bool(shown) == isinstance(method, ShowsRows)
    ids = [*TEXT, *(token for index in shown for token in TRAINSET[index].ids)]
    prompt = method.materialize(module)
    assert prompt.num_virtual_tokens == len(ids)
    found = model.logits(ROWS, model.prefix([prompt]), EVERYWHERE)
    assert (found - model.logits(ROWS, model.prefix([ids]), EVERYWHERE)).abs().max() <= 1e-5


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "gemma2", "gemma3"])
def test_upper_layers_start_from_the_keys_and_values_of_the_text(
    architecture: str, method: SoftMethod
) -> None:
    if method.kind != "late":
        pytest.skip("every layer starts from the text")
    model = tiny_model(architecture)
    prompt, text = method.materialize(start(model, method, TEXT)), model.prefix([TEXT])
    assert isinstance(prompt, KeyValuePrefix)
    below = prompt.layers.count(None)
    assert 0 < below < len(text.layers)
    for index, (found, expected) in enumerate(zip(prompt.layers, text.layers, strict=True)):
        if found is None:
            assert index < below
            continue
        assert expected is not None
        for one, other in zip(found, expected, strict=True):
            assert other.std() > 0.1
            assert (one - other[0]).abs().max() <= 1e-5


@pytest.mark.parametrize("architecture", RECURRENT)
def test_step_0_equals_the_text_prompt_on_the_plain_path(architecture: str, method: SoftMethod) -> None:
    if method.kind not in ("input", "offset"):
        pytest.skip("such a model has no place for this kind of prompt")
    model = tiny_model(architecture)
    expected = model.logits(ROWS, model.prefix([TEXT]), EVERYWHERE)
    found = outputs(model, method, start(model, method, TEXT))
    assert (found - expected).abs().max() <= 1e-5


def test_making_a_prompt_has_no_side_effects(model: FrozenModel, method: SoftMethod) -> None:
    module = start(model, method, TEXT)
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    random_state = torch.get_rng_state()
    first = outputs(model, method, module)
    assert torch.equal(outputs(model, method, module), first)
    assert torch.equal(torch.get_rng_state(), random_state)
    assert module.state_dict().keys() == before.keys()
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_a_detached_prompt_is_a_copy(model: FrozenModel, method: SoftMethod) -> None:
    module = start(model, method, TEXT)
    move(module)
    prompt = method.materialize(module).detached()
    expected = effect(model, prompt)
    move(module)
    assert torch.equal(effect(model, prompt), expected)
    assert not torch.allclose(outputs(model, method, module), expected)


def test_only_the_prompt_gets_gradients(model: FrozenModel, method: SoftMethod) -> None:
    module = start(model, method, TEXT)
    # A factor that starts at zero keeps the gradient of the other at zero until it has moved.
    move(module)
    accumulate_gradients(
        model, method.materialize(module), TRAINSET, micro_batch_size=4, objective=toy_objective(method)
    )
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name
    assert all(weight.grad is None and not weight.requires_grad for weight in model.network.parameters())


def test_training_lowers_the_loss_and_leaves_every_weight_bit_equal(
    method: SoftMethod, tmp_path: Path
) -> None:
    model, sink = build_model("llama"), RecordingSink()
    identity = model.identity()
    weights = {name: weight.clone() for name, weight in model.network.state_dict().items()}
    candidate = toy_candidate(model, method, max_steps=50, validate_every=25, weight_decay=0.1)
    # Which answer is right, all that a head learns, few rows teach a random network by heart only.
    valset = TRAINSET if method.kind == "headed" else VALSET
    outcome = train_toy(model, candidate, tmp_path / "toy", valset=valset, sink=sink)

    # The first token decides the answer, which the mean of a row's tokens tells only in part. A head starts
    # from two equal labels, at 0.69. Of two layers, only the upper one learns behind a late prompt; what is
    # held near its start learns less, and not for long.
    least, gain = {"instance": (1.5, 0.5), "headed": (0.6, 0.6), "late": (1.0, 0.5)}.get(
        method.kind, (1.5, 0.3 if isinstance(method, Constrained) else 1.0)
    )
    assert sum(sink.losses[-5:]) / 5 < sink.losses[0] - least
    validations = sink.validations
    assert validations[-1].log_loss < validations[0].log_loss - gain
    assert outcome.progress.best_step >= (25 if isinstance(method, Constrained) else 50)
    assert model.network.state_dict().keys() == weights.keys()
    for name, weight in model.network.state_dict().items():
        assert torch.equal(weight, weights[name]), name
    assert model.identity(fresh=True) == identity


def test_a_stored_training_gives_the_same_output(
    model: FrozenModel, method: SoftMethod, tmp_path: Path
) -> None:
    candidate = toy_candidate(model, method)
    training = Training(model, candidate, TRAINSET, higher_is_better=True)
    for _ in range(3):
        training.step()
    training.checkpoint().save(tmp_path / "toy")
    module = restarted(method, model, candidate)
    untrained = outputs(model, method, module)
    module.load_state_dict(training.checkpoint().module)
    expected = outputs(model, method, module)

    other = restarted(method, model, candidate)
    other.load_state_dict(Checkpoint.load(tmp_path / "toy").module)
    assert torch.equal(outputs(model, method, other), expected)
    assert not torch.allclose(expected, untrained, atol=0.1)


def test_a_bfloat16_model_has_its_prompt_trained_in_float32(method: SoftMethod, tmp_path: Path) -> None:
    network = cast_network(build_network("llama"), torch.bfloat16)
    model, sink = FrozenModel(network, build_tokenizer(), name="bfloat16"), RecordingSink()
    has_network = any(True for _ in start(model, method, TEXT).buffers())
    # So small a rate would be lost to rounding if the prompt were held in bfloat16.
    candidate = toy_candidate(
        model, method, learning_rate=1e-4, max_steps=4, weight_decay=0.0, max_gradient_norm=0.0
    )
    train_toy(model, candidate, tmp_path / "toy", sink=sink)
    checkpoint = Checkpoint.load(tmp_path / "toy")
    started = restarted(method, model, candidate)
    assert started.state_dict().keys() == checkpoint.module.keys()
    assert {tensor.dtype for tensor in checkpoint.module.values()} == {torch.float32}
    for name, parameter in started.named_parameters():
        moved = (checkpoint.module[name] - parameter).abs()
        # A unit that ReLU holds at zero for every token does not move.
        assert (moved > 0).float().mean() > (0.4 if has_network else 0.9), name
        assert moved.max() < 1e-3, name
    assert {tensor.dtype for tensor in checkpoint.optimizer.values()} == {torch.float32}
    assert {weight.dtype for weight in model.network.parameters()} == {torch.bfloat16}


def test_no_other_file_names_a_method(method: SoftMethod) -> None:
    own_module = type(method).__module__.rpartition(".")[2]
    own_files = {f"tuning/soft/{name}.py" for name in (own_module, "registry", "defaults")}
    names = re.compile(rf"\b({method.name}|{type(method).__name__})\b")

    def names_method(path: Path) -> bool:
        lines = path.read_text(encoding="utf-8").splitlines()
        # The command line stays light: its help cannot import the registry to list what there is.
        if path.parent.name == "cli":
            lines = [line for line in lines if "help=" not in line]
        return any(names.search(line) for line in lines)

    found = {path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py") if names_method(path)}
    assert found == own_files
