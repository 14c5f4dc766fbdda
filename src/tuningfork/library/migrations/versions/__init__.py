"""One file for each change of the tables; what stands in one never changes."""
