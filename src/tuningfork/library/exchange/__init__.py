"""Prompts between libraries, and between a library and the registries of others."""
