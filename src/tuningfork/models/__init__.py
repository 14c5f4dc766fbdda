"""The frozen model: loading, the shared-prefix forward, scoring and generation."""
