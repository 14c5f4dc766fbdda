"""Learning rate by step."""

import math

from tuningfork.training.arguments import TrainingArguments


def learning_rate_at(step: int, arguments: TrainingArguments) -> float:
    """The learning rate of optimizer step `step`, counted from 0."""
    if step < arguments.warmup_steps:
        return arguments.learning_rate * (step + 1) / (arguments.warmup_steps + 1)
    span = max(arguments.max_steps - arguments.warmup_steps, 1)
    done = min((step - arguments.warmup_steps) / span, 1.0)
    if arguments.schedule == "constant":
        return arguments.learning_rate
    if arguments.schedule == "linear":
        return arguments.learning_rate * (1.0 - done)
    return arguments.learning_rate * 0.5 * (1.0 + math.cos(math.pi * done))
