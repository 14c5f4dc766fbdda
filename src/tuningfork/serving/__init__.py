"""Serves many prompts from one frozen model."""
