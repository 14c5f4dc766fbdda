"""Ways of adapting a model that can be compared: one file each."""
