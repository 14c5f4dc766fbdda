"""Who writes instructions: rules, the local model, or a model behind an address."""
