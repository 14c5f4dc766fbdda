"""What is likely to be wrong with a prompt, found by looking at it."""
