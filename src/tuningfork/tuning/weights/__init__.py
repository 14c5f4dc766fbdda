"""Weights that are learned: low-rank changes of a frozen network, beside a soft prompt or alone."""
