"""Text prompts under search: one strategy per file, one budget, one log."""
