"""Numbers that are reported: scores, intervals, comparisons."""
