"""A comparison as a page, as Markdown, and its plots: pure functions of its record."""
