"""Prompts kept on disk: run folders and file formats."""
