"""Assertions: what must hold of one answer."""
