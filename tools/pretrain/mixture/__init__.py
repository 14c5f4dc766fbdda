"""What the small model is taught: families of tasks derived from the corpus, one family per file."""
