"""What `compare.py` measures: error rates of verdicts, and comparisons that are stored."""
