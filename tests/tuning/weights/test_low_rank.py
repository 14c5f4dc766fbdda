from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from tests.peft_reference import lora_weights, with_peft_layers
from tests.tiny_models import MASK, SEP, random_ids, tiny_encoder, tiny_model
from tests.training.test_step import ROWS, reference_loss
from tests.training.toy_task import TEXT, TRAINSET
from tests.unpadded_reference import relative_difference
from tuningfork.errors import PromptError
from tuningfork.models.artefacts import AdaptedPrompt, InputPrompt, SoftPrompt
from tuningfork.models.frozen import FrozenModel
from tuningfork.training.arguments import TrainingArguments
from tuningfork.training.objectives import ChoiceObjective, Objective, TokenObjective
from tuningfork.training.optimizer import build_optimizer
from tuningfork.training.step import accumulate_gradients
from tuningfork.tuning.soft.defaults import SEARCHED_METHODS
from tuningfork.tuning.soft.method import AddsLoss, Constrained, ShowsRows, SoftMethod, begin
from tuningfork.tuning.soft.prompt_tuning import PromptTuning
from tuningfork.tuning.soft.registry import SOFT_METHODS
from tuningfork.tuning.weights.low_rank import (
    LowRankSettings,
    ShowingWithLowRank,
    WithLowRank,
    WordsAlone,
    start_adapter,
    with_low_rank,
)
from tuningfork.types import TrainingRow

SETTINGS = LowRankSettings(rank=3, alpha=6, learning_rate=0.01)
METHODS: dict[str, SoftMethod] = {name: SOFT_METHODS[name] for name in SEARCHED_METHODS} | {
    "words": WordsAlone(TEXT)
}


@pytest.fixture
def model() -> FrozenModel:
    return tiny_model("llama")


def hybrid(method: SoftMethod, settings: LowRankSettings = SETTINGS) -> WithLowRank:
    return with_low_rank(method, settings, learning_rate=0.1)


def started(model: FrozenModel, method: WithLowRank, *, size: float = 0.2) -> nn.Module:
    """The state of `method`, moved away from zero so that both factors of a product have gradients."""
    module = begin(method, model, model.embed(TEXT).float())
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in module.parameters():
            if not parameter.any():
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * size)
    return module


def by_group(module: nn.Module, gradients: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """Gradients of the prompt, and of the adapter."""
    names = [name for name, _ in module.named_parameters()]
    pairs = list(zip(names, gradients, strict=True))
    return [g for n, g in pairs if n.startswith("prompt.")], [g for n, g in pairs if n.startswith("adapter.")]


def unadapted_logits_of(network: Any) -> FrozenModel:
    """What the reference needs of a model: its network."""
    return cast(FrozenModel, SimpleNamespace(network=network))


def reference(model: FrozenModel, method: WithLowRank, module: nn.Module) -> tuple[float, list[Tensor]]:
    """Loss and gradients of whole rows through PEFT's layers, each row behind its own copy of the prompt."""
    made = method.materialize(module)
    network = with_peft_layers(model.network, made.update.detached())
    for name, parameter in cast(nn.Module, network).named_parameters():
        parameter.requires_grad_("lora_" in name)
    prompt: SoftPrompt = made.prompt
    if isinstance(method.method, WordsAlone):
        prompt = InputPrompt(model.embed(TEXT))
    loss = reference_loss(unadapted_logits_of(network), prompt, ROWS)
    loss.backward()  # type: ignore[no-untyped-call]
    weights = lora_weights(cast(nn.Module, network))
    grads = {}
    for name, (down, up) in weights.items():
        key = name.replace(".", "/")
        grads[f"adapter.down.{key}"], grads[f"adapter.up.{key}"] = down.grad, up.grad
    found = []
    for name, parameter in module.named_parameters():
        found.append(_or_zero(parameter.grad if name.startswith("prompt.") else grads[name], parameter))
        parameter.grad = None
    return loss.item(), found


def _or_zero(gradient: Tensor | None, parameter: Tensor) -> Tensor:
    """Some layers of recurrent networks are never called: their weights are read by others."""
    return torch.zeros_like(parameter) if gradient is None else gradient.clone()


@pytest.mark.parametrize("micro_batch_size", [1, 2, 100])
@pytest.mark.parametrize("name", METHODS)
def test_gradients_of_prompt_and_adapter_equal_those_of_whole_rows_through_peft(
    model: FrozenModel, name: str, micro_batch_size: int
) -> None:
    method = hybrid(METHODS[name])
    module = started(model, method)
    expected_loss, expected = reference(model, method, module)
    loss = accumulate_gradients(model, method.materialize(module), ROWS, micro_batch_size=micro_batch_size)
    found = [_or_zero(parameter.grad, parameter) for parameter in module.parameters()]
    assert loss == pytest.approx(expected_loss, rel=1e-5)
    for ours, theirs in zip(by_group(module, found), by_group(module, expected), strict=True):
        assert len(ours) == len(theirs)
        if ours:
            assert relative_difference(ours, theirs) < 1e-4
            assert min(float(gradient.norm()) for gradient in ours) > 0


@pytest.mark.parametrize("architecture", ["gpt2", "gemma2", "mistral", "mamba", "jamba"])
def test_other_architectures_give_the_same_gradients_too(architecture: str) -> None:
    # PEFT takes no layer of a Mamba network that its kernels read past.
    targets = ("in_proj", "x_proj") if architecture == "mamba" else ()
    model, method = tiny_model(architecture), hybrid(PromptTuning(), replace(SETTINGS, targets=targets))
    module = started(model, method, size=0.05)
    expected_loss, expected = reference(model, method, module)
    loss = accumulate_gradients(model, method.materialize(module), ROWS, micro_batch_size=2)
    found = [_or_zero(parameter.grad, parameter) for parameter in module.parameters()]
    assert loss == pytest.approx(expected_loss, rel=1e-5)
    for ours, theirs in zip(by_group(module, found), by_group(module, expected), strict=True):
        assert relative_difference(ours, theirs) < 1e-4


@pytest.mark.parametrize("architecture", ["t5", "bart", "bert"])
def test_models_with_an_encoder_give_the_loss_and_gradients_of_peft_layers(architecture: str) -> None:
    is_encoder = architecture == "bert"
    model = tiny_encoder("bert") if is_encoder else tiny_model(architecture)
    objective: Objective = TokenObjective()
    rows: list[TrainingRow] = ROWS[:4]
    if is_encoder:
        objective = ChoiceObjective([(10,), (20,)], normalizes_length=False)
        rows = [
            TrainingRow((*random_ids(3 + i, seed=i), MASK, SEP, (10, 20)[i % 2]), (5 + i,), i % 2)
            for i in range(4)
        ]
    method = hybrid(WordsAlone(TEXT))
    module = started(model, method, size=0.05)
    made = method.materialize(module)
    adapted = with_peft_layers(model.network, made.update.detached())
    reference = FrozenModel(adapted, model.tokenizer, name="PEFT's layers")
    weights = lora_weights(cast(nn.Module, adapted))
    for pair in weights.values():
        for weight in pair:
            weight.requires_grad_(True)
    expected = objective.losses(reference, reference.prefix([TEXT]), rows).mean()
    expected.backward()  # type: ignore[no-untyped-call]
    loss = accumulate_gradients(model, made, rows, micro_batch_size=3, objective=objective)
    assert loss == pytest.approx(expected.item(), rel=1e-4)
    plain = objective.losses(model, model.prefix([TEXT]), rows).mean()
    assert abs(loss - plain.item()) > 1e-2
    parameters = dict(module.named_parameters())
    assert len(parameters) == 2 * len(weights)
    for name, (down, up) in weights.items():
        key = name.replace(".", "/")
        ours = [parameters[f"adapter.{part}.{key}"] for part in ("down", "up")]
        pairs = [(_or_zero(p.grad, p), _or_zero(w.grad, w)) for p, w in zip(ours, (down, up), strict=True)]
        if any(theirs.any() for _, theirs in pairs):
            assert relative_difference(*map(list, zip(*pairs, strict=True))) < 1e-4, name


def test_what_is_changed_is_what_peft_would_change_but_never_the_network(model: FrozenModel) -> None:
    before = model.identity(fresh=True)
    every = start_adapter(model, SETTINGS, torch.Generator())
    assert len(cast(nn.ParameterDict, every.down)) == 2 * 7
    some = start_adapter(
        model, replace(SETTINGS, targets=("q_proj", "layers.1.mlp.up_proj")), torch.Generator()
    )
    assert list(cast(nn.ParameterDict, some.up)) == [
        "model/layers/0/self_attn/q_proj", "model/layers/1/self_attn/q_proj", "model/layers/1/mlp/up_proj"
    ]  # fmt: skip
    assert {tuple(p.shape) for p in cast(nn.ParameterDict, some.down).values()} == {(3, 32)}
    assert model.identity(fresh=True) == before


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (("q_prj",), "LoRA cannot change q_prj of llama: .*--lora-target"),
        (("embed_tokens",), "changes linear layers here, and model.embed_tokens is none"),
    ],
)
def test_layers_that_cannot_be_changed_are_named(
    model: FrozenModel, targets: tuple[str, ...], message: str
) -> None:
    with pytest.raises(PromptError, match=message):
        start_adapter(model, replace(SETTINGS, targets=targets), torch.Generator())


@pytest.mark.parametrize("name", METHODS)
def test_the_adapter_changes_nothing_at_the_start(model: FrozenModel, name: str) -> None:
    method = hybrid(METHODS[name])
    module = begin(method, model, model.embed(TEXT).float(), rows=TRAINSET)
    made = method.materialize(module)
    assert isinstance(made, AdaptedPrompt)
    rows, at = [row.ids for row in ROWS], [[len(row.ids) - 1] for row in ROWS]
    torch.testing.assert_close(
        model.logits(rows, model.prefix([made]), at), model.logits(rows, model.prefix([made.prompt]), at)
    )
    assert method.equals_text_at_start == METHODS[name].equals_text_at_start


def test_the_same_seed_draws_the_same_adapter(model: FrozenModel) -> None:
    drawn = [
        start_adapter(model, SETTINGS, torch.Generator().manual_seed(seed)).state_dict() for seed in (1, 1, 2)
    ]
    assert all(torch.equal(drawn[0][name], drawn[1][name]) for name in drawn[0])
    assert any(not torch.equal(drawn[0][name], drawn[2][name]) for name in drawn[0])
    # Uniform in +- 1 / sqrt(read).
    first = drawn[0]["down.model/layers/0/self_attn/q_proj"]
    assert 0.8 / 32**0.5 < float(first.abs().max()) <= 1 / 32**0.5


def test_prompt_and_adapter_learn_at_their_own_rates(model: FrozenModel) -> None:
    method = with_low_rank(SOFT_METHODS["dept"], SETTINGS, learning_rate=0.05)
    module = begin(method, model, model.embed(TEXT).float())
    optimizer = build_optimizer(method, module, TrainingArguments(learning_rate=0.05))
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    rates = {names[id(p)]: group["lr"] for group in optimizer.param_groups for p in group["params"]}
    assert rates.keys() == dict(module.named_parameters()).keys()
    for name, rate in rates.items():
        expected = 0.01 if name.startswith("adapter.") else 0.005 if name[7:] in ("down", "up") else 0.05
        assert rate == pytest.approx(expected), name


def test_a_method_that_shows_rows_keeps_its_loss_and_bounds(model: FrozenModel) -> None:
    method = hybrid(SOFT_METHODS["context_aware_prompt_tuning"])
    assert isinstance(method, ShowingWithLowRank)
    module = begin(method, model, model.embed(TEXT).float(), rows=TRAINSET)
    inner = cast(Any, method.method)
    assert method.shown_rows(module) == inner.shown_rows(module.prompt) != ()
    prefix = model.prefix([method.materialize(module)])
    assert torch.equal(method.own_loss(model, module, prefix), inner.own_loss(model, module.prompt, prefix))
    delta = cast(Any, module).prompt.delta
    with torch.no_grad():
        delta += 100
    method.constrain(module)
    assert float(delta.detach().abs().max()) < 100
    assert not isinstance(hybrid(PromptTuning()), ShowsRows | AddsLoss | Constrained)


def test_a_method_that_does_only_some_of_that_is_refused() -> None:
    class Bounded(PromptTuning):
        def constrain(self, module: nn.Module) -> None:
            """Nothing to do."""

    with pytest.raises(PromptError, match="prompt_tuning cannot be learned together with LoRA"):
        hybrid(Bounded())


def test_the_name_tells_what_is_learned() -> None:
    assert [hybrid(method).name for method in (PromptTuning(), WordsAlone(TEXT))] == [
        "prompt_tuning+lora", "lora"
    ]  # fmt: skip
