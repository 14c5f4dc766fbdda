"""The one training loop: arguments, batches, steps, checkpoints."""
