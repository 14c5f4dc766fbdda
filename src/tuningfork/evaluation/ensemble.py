"""Several prompts that answer each row together."""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from torch import Tensor

from tuningfork.data.example import Example
from tuningfork.errors import PromptError
from tuningfork.evaluation.evaluate import Evaluation, Prediction, label_probabilities, scored
from tuningfork.models.frozen import FrozenModel
from tuningfork.models.mixing import mixed_batches
from tuningfork.models.path import SamplingOptions
from tuningfork.models.prefix import PrefixState
from tuningfork.tasks.metrics import Metric
from tuningfork.tasks.rendering import RowRenderer
from tuningfork.tasks.tagging import TagRenderer
from tuningfork.tasks.task import Task
from tuningfork.training.calibration import tempered_log_losses
from tuningfork.training.checkpoint import Validation
from tuningfork.training.objectives import row_losses
from tuningfork.types import Combine, TokenIds, TrainingRow

T = TypeVar("T", bound=Hashable)


def mean_log_probabilities(members: Tensor) -> Tensor:
    """Log of the mean probability over K members, from their log-probabilities (K, ...)."""
    return members.logsumexp(dim=0) - torch.tensor(float(len(members))).log()


def vote_labels(members: Tensor) -> Tensor:
    """The label (B,) that most of K members find likeliest, from their log-probabilities (K, B, C).

    Labels with as many votes are told apart by their mean probability.
    """
    votes = torch.zeros(members.shape[1:]).scatter_add_(
        1, members.argmax(dim=-1).T, torch.ones(members.shape[1], members.shape[0])
    )
    is_first = votes == votes.max(dim=-1, keepdim=True).values
    return mean_log_probabilities(members).masked_fill(~is_first, -torch.inf).argmax(dim=-1)


def leading_answers(answers: Sequence[str], key: Callable[[str], Hashable]) -> list[str]:
    """The answers that could win a vote among `answers`, in order of the alphabet.

    Answers of equal `key` are one answer, said in several ways; those with most votes lead, and of the ways
    to say one of them, those said most often.
    """
    ways: dict[Hashable, Counter[str]] = defaultdict(Counter)
    for answer in answers:
        ways[key(answer)][answer] += 1
    most = max(said.total() for said in ways.values())
    leading = [said for said in ways.values() if said.total() == most]
    return sorted(text for said in leading for text in said if said[text] == max(said.values()))


def vote_answer(leading: Sequence[str], log_probabilities: Mapping[str, float]) -> str:
    """The likeliest of the `leading` answers; of equally likely ones, the first of the alphabet."""
    if len(leading) == 1:
        return leading[0]
    return min(leading, key=lambda answer: (-log_probabilities[answer], answer))


@dataclass(frozen=True, slots=True, eq=False)
class Member:
    """One prompt of an ensemble, and what rows look like behind it."""

    prefix: PrefixState
    renderer: RowRenderer


class Ensemble:
    """Prompts of one task on one model that answer each row together.

    Source: Lester, Al-Rfou, Constant 2021, "The Power of Scale for Parameter-Efficient Prompt Tuning", arXiv
    2104.08691, section 6: prompts of several seeds of one task share one frozen model, a row is run once for
    each of them in one batch, and a vote decides. Beside the vote there is the mean of the labels'
    probabilities here, whose log-loss is never above the mean log-loss of the members, as -log is convex.

    Labels: `mean` takes the label with the highest mean probability, `vote` the one that most members take,
    and tells ties apart by that mean. Generated answers: those that are equal after the normalisation of the
    task's metric are one answer, the one that most members give is taken, and ties go to the answer with the
    highest mean log-probability under the members. Up to rounding the order of the members does not matter.
    """

    def __init__(
        self,
        model: FrozenModel,
        task: Task,
        members: Sequence[Member],
        *,
        combine: Combine | None = None,
        batch_size: int = 16,
    ) -> None:
        """Combine `members` by `combine`, by default `mean` where the task has labels, else `vote`.

        Raises:
            PromptError: if there is no member, their labels differ, or `mean` is asked of generated answers.
        """
        if not members:
            raise PromptError("an ensemble needs at least one prompt, found none")
        self._model = model
        self._task = task
        self._members = list(members)
        self._batch_size = batch_size
        self.labels = _common_labels(members)
        self.combine = combine or ("vote" if self.labels is None else "mean")
        if self.labels is None and self.combine == "mean":
            raise PromptError(
                f"combine mean takes the mean of labels' probabilities; task {task.name} generates answers, "
                "which are combined by vote"
            )

    @property
    def metric(self) -> Metric:
        """What scores the answers."""
        return self._task.scoring

    def evaluate(self, examples: Sequence[Example]) -> Evaluation:
        """Score the ensemble on `examples`, each with at least one target.

        The log-loss is that of the mean probability: of the right label or, per token, of the first
        reference.
        """
        started = time.perf_counter()
        references = [example.targets[0] for example in examples]
        tempered: tuple[float, ...] = ()
        if self.labels is None:
            predictions, probabilities = self._vote_answers(examples), None
            log_losses = self._reference_log_losses(examples)
        else:
            scores = self._label_log_probabilities(examples, self.labels)
            predictions = [self.labels[index] for index in self._choose_labels(scores)]
            gold = torch.tensor([self.labels.index(reference) for reference in references])
            mean = mean_log_probabilities(scores)
            probabilities = label_probabilities(self._task, self.labels, mean)
            log_losses = (-mean.gather(1, gold[:, None])[:, 0]).tolist()
            tempered = tempered_log_losses(mean, gold)
        return scored(
            self._task,
            examples,
            predictions,
            log_losses,
            started,
            probabilities=probabilities,
            tempered_log_losses=tempered,
        )

    def validate(self, examples: Sequence[Example], *, generates: bool = True) -> Validation:
        """What selection needs of an evaluation; unless it `generates`, no metric of generated answers."""
        if generates or self.labels is not None:
            found = self.evaluate(examples)
            # A metric of the whole split is no mean of those of folds.
            is_mean = found.split_score is None or generates
            return found.validation if is_mean else replace(found.validation, metric=None)
        log_losses = self._reference_log_losses(examples)
        return Validation(None, sum(log_losses) / len(log_losses), len(log_losses))

    def predict(
        self, examples: Sequence[Example], *, sampling: SamplingOptions | None = None
    ) -> list[Prediction]:
        """What the members answer together; of labels, with their mean probabilities, whoever decides.

        `sampling` says how tokens of generated answers are chosen, by default the likeliest; the task says
        how long answers may be. Labels are scored, not sampled.
        """
        if self.labels is None:
            return [Prediction(text) for text in self._vote_answers(examples, sampling)]
        scores = self._label_log_probabilities(examples, self.labels)
        shares = mean_log_probabilities(scores).exp().tolist()
        return [
            Prediction(self.labels[index], dict(zip(self.labels, row, strict=True)))
            for index, row in zip(self._choose_labels(scores), shares, strict=True)
        ]

    def _choose_labels(self, scores: Tensor) -> list[int]:
        chosen = vote_labels(scores) if self.combine == "vote" else mean_log_probabilities(scores).argmax(-1)
        return [int(index) for index in chosen]

    def _label_log_probabilities(self, examples: Sequence[Example], labels: Sequence[str]) -> Tensor:
        """Log-probability (K, B, C) of each of `labels` among them, by each member."""
        scores = torch.empty(len(self._members), len(examples), len(labels))
        for choices, places in self._alike(lambda renderer: renderer.choices).items():
            assert choices is not None
            members = [self._members[place] for place in places]
            rows, prefixes = self._rows(members, examples)
            found = self._model.score(
                rows,
                prefixes,
                choices.choice_ids,
                normalizes_length=choices.normalizes_length,
                batch_size=self._whole_rows(len(members)),
            ).log_softmax(dim=-1)
            order = [choices.labels.index(label) for label in labels]
            scores[places] = found.view(len(examples), len(members), -1).transpose(0, 1)[..., order]
        return scores

    def _alike(self, seen: Callable[[RowRenderer], T]) -> dict[T, list[int]]:
        """Places of the members whose renderers are `seen` alike."""
        found = defaultdict[T, list[int]](list)
        for place, member in enumerate(self._members):
            found[seen(member.renderer)].append(place)
        return found

    def _vote_answers(
        self, examples: Sequence[Example], sampling: SamplingOptions | None = None
    ) -> list[str]:
        answers = self._generated(examples, sampling or SamplingOptions())
        leading = [leading_answers(said, self._task.answer_key) for said in zip(*answers, strict=True)]
        tied = [(place, text) for place, texts in enumerate(leading) if len(texts) > 1 for text in texts]
        # More tokens than may be generated need not fit behind the row; those of the text may be others.
        scores = self._answer_log_probabilities(
            [(examples[place], text) for place, text in tied], most_tokens=self._task.max_new_tokens + 1
        )
        means = defaultdict[int, dict[str, float]](dict)
        for (place, text), mean in zip(tied, scores.mean(dim=0).tolist(), strict=True):
            means[place][text] = mean
        return [vote_answer(texts, means[place]) for place, texts in enumerate(leading)]

    def _generated(self, examples: Sequence[Example], chosen: SamplingOptions) -> list[list[str]]:
        """What each member answers to each of `examples`."""
        answers: list[list[str]] = [[] for _ in self._members]
        for end_ids, places in self._alike(lambda renderer: renderer.end_ids).items():
            members = [self._members[place] for place in places]
            rows, prefixes = self._rows(members, examples)
            sampling = replace(chosen, max_new_tokens=self._task.max_new_tokens, end_ids=end_ids)
            made = self._model.generate(rows, prefixes, sampling, batch_size=self._whole_rows(len(members)))
            for at, place in enumerate(places):
                decode = self._members[place].renderer.decode
                answers[place] = [decode(ids) for ids in made[at :: len(places)]]
        return answers

    def _reference_log_losses(self, examples: Sequence[Example]) -> list[float]:
        """Nats per token of each first reference, of its mean probability over the members."""
        found = mean_log_probabilities(self._answer_log_probabilities([(e, e.targets[0]) for e in examples]))
        lengths = [len(self._members[0].renderer.answer_ids(example.targets[0])) for example in examples]
        return [-score / length for score, length in zip(found.tolist(), lengths, strict=True)]

    @torch.no_grad()
    def _answer_log_probabilities(
        self, answers: Sequence[tuple[Example, str]], *, most_tokens: int | None = None
    ) -> Tensor:
        """Log-probability (K, N) of saying each answer to its row and then ending, by each member."""
        whole: list[TrainingRow] = []
        prefixes: list[PrefixState] = []
        for example, text in answers:
            for member in self._members:
                row, answer = member.renderer.row_ids(example), member.renderer.answer_ids(text)[:most_tokens]
                ids = (*row, *answer)
                whole.append(TrainingRow(ids, tuple(range(len(row), len(ids)))))
                prefixes.append(member.prefix)
        scores = torch.empty(len(whole))
        if whole:
            batches = mixed_batches(
                [len(row.ids) for row in whole], prefixes, self._whole_rows(len(self._members))
            )
            for indices, states in batches:
                losses = row_losses(self._model, states, [whole[index] for index in indices])
                by_row = torch.split(losses, [len(whole[index].label_positions) for index in indices])
                scores[indices] = torch.stack([-row.sum() for row in by_row]).cpu()
        return scores.view(len(answers), len(self._members)).T

    def _rows(
        self, members: Sequence[Member], examples: Sequence[Example]
    ) -> tuple[list[TokenIds], list[PrefixState]]:
        """Every example once for each member, side by side."""
        rows: list[TokenIds] = [m.renderer.row_ids(example) for example in examples for m in members]
        return rows, [member.prefix for _ in examples for member in members]

    def _whole_rows(self, count: int) -> int:
        """A batch size that keeps the `count` runs of a row together, where their lengths agree."""
        return max(count, self._batch_size // count * count)


def _common_labels(members: Sequence[Member]) -> tuple[str, ...] | None:
    labels = [_labels_of(member.renderer) for member in members]
    if len({None if each is None else frozenset(each) for each in labels}) > 1:
        described = " against ".join(
            sorted({"none" if each is None else ", ".join(sorted(each)) for each in labels})
        )
        raise PromptError(f"prompts answer together only where their labels are the same; found {described}")
    return labels[0]


def _labels_of(renderer: RowRenderer) -> tuple[str, ...] | None:
    if isinstance(renderer, TagRenderer):
        return renderer.tags
    return None if renderer.choices is None else renderer.choices.labels
