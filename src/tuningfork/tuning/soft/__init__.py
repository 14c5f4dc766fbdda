"""Soft prompts: one method per file, and where they start."""
