"""Parts of `benchmarks/embedded_model.py`."""
