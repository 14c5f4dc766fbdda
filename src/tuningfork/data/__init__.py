"""Rows in: reading files, mapping columns, checking, splitting and hashing examples."""
