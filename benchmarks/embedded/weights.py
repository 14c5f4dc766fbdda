"""What prompts are measured against: the model's own weights trained, and no language model at all."""

import copy
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from peft import LoraConfig, get_peft_model
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from torch import nn
from transformers import PreTrainedModel

from tuningfork.data.example import Example
from tuningfork.evaluation.evaluate import Evaluation, Evaluator
from tuningfork.models.frozen import FrozenModel
from tuningfork.recipes.preparation import Prepared, RenderedRows
from tuningfork.training.arguments import TrainingArguments
from tuningfork.training.batching import RowSampler
from tuningfork.training.objectives import Objective
from tuningfork.training.schedules import learning_rate_at
from tuningfork.training.step import accumulate_gradients
from tuningfork.tuning.weights.instructed import words

VALIDATE_EVERY = 10

Adapt = Callable[[FrozenModel], tuple[FrozenModel, list[nn.Parameter]]]
"""Copies a model and names the weights to train; the model itself stays as it is."""


def full(model: FrozenModel) -> tuple[FrozenModel, list[nn.Parameter]]:
    """Every weight of a copy."""
    network = copy.deepcopy(model.network)
    adapted = FrozenModel(network, model.tokenizer, name=model.name)
    return adapted, list(network.parameters())


def lora(model: FrozenModel) -> tuple[FrozenModel, list[nn.Parameter]]:
    """LoRA of rank 8 on every linear layer of a copy (Hu et al. 2021, arXiv 2106.09685), by PEFT.

    PEFT's layers stay here, as a check of what `tune --lora-alone` learns, and as they drew what is recorded.
    """
    settings = LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM")
    with warnings.catch_warnings():
        # PEFT 0.21 asks transformers 5 for a property under its old name.
        warnings.filterwarnings("ignore", message="`is_gradient_checkpointing` is deprecated")
        wrapped = get_peft_model(copy.deepcopy(model.network), settings)
    network = cast(PreTrainedModel, wrapped.base_model.model)
    adapted = FrozenModel(network, model.tokenizer, name=model.name)
    return adapted, [parameter for name, parameter in network.named_parameters() if "lora_" in name]


@dataclass(frozen=True, slots=True)
class WeightsTuned:
    """Weights trained on all rows, with what the folds chose."""

    learning_rate: float
    steps: int
    evaluation: Evaluation


@dataclass(frozen=True)
class WeightTuning:
    """Trains weights behind the text prompt, on the rows, folds and loss that prompts are tuned with."""

    model: FrozenModel
    prepared: Prepared
    objective: Objective
    adapt: Adapt
    max_steps: int
    seed: int

    def run(self, learning_rates: Sequence[float]) -> WeightsTuned:
        """Choose rate and steps on held-out rows, then train on all rows and read the test split."""
        losses: dict[tuple[float, int], float] = defaultdict(float)
        for rate in learning_rates:
            for fold in self.prepared.folds:
                for step, evaluate in self._train(rate, fold.train, self.max_steps):
                    losses[rate, step] += sum(evaluate(fold.validation).log_losses)
        rate, steps = min(losses, key=losses.__getitem__)
        return WeightsTuned(rate, steps, self.with_settings(rate, steps))

    def with_settings(self, learning_rate: float, steps: int) -> Evaluation:
        """Train on all rows with settings that are given, and read the test split."""
        rows = self.prepared.rows if self.prepared.is_cross_validated else self.prepared.folds[0].train
        *_, (_, evaluate) = self._train(learning_rate, rows, steps)
        return evaluate(self.prepared.test)

    def _train(
        self, learning_rate: float, examples: Sequence[Example], until: int
    ) -> Iterator[tuple[int, Callable[[Sequence[Example]], Evaluation]]]:
        """Train a copy; every few steps, yield the step and what evaluates the copy as it is then."""
        torch.manual_seed(self.seed)
        adapted, parameters = self.adapt(self.model)
        for parameter in parameters:
            parameter.requires_grad_(True)
        arguments = TrainingArguments(learning_rate, max_steps=self.max_steps, seed=self.seed)
        optimizer = torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=0.0)
        rows = RenderedRows(self.prepared.renderer, examples)
        sampler = RowSampler(len(rows), arguments.batch_size, seed=self.seed)
        evaluator = Evaluator(adapted, self.prepared.task, self.prepared.renderer)
        text = self.prepared.renderer.prefix_ids

        @torch.no_grad()
        def evaluate(held_out: Sequence[Example]) -> Evaluation:
            return evaluator.evaluate(adapted.prefix([text]), held_out)

        for step in range(until):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate_at(step, arguments)
            batch = [rows[index] for index in sampler.next_batch()]
            optimizer.zero_grad(set_to_none=True)
            accumulate_gradients(
                adapted,
                words(text, adapted.hidden_size),
                batch,
                micro_batch_size=arguments.micro_batch_size,
                objective=self.objective,
            )
            nn.utils.clip_grad_norm_(parameters, arguments.max_gradient_norm)
            optimizer.step()
            if (step + 1) % VALIDATE_EVERY == 0 or step + 1 == until:
                yield step + 1, evaluate


def tfidf(train: Sequence[Example], test: Sequence[Example]) -> list[str]:
    """Labels by logistic regression on TF-IDF of words and word pairs."""
    pipeline = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), LogisticRegression(C=10, max_iter=1000)
    )
    pipeline.fit([_text(example) for example in train], [example.targets[0] for example in train])
    return [str(label) for label in pipeline.predict([_text(example) for example in test])]


def _text(example: Example) -> str:
    return "\n".join(example.inputs.values())
