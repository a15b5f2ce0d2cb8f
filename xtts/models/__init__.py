"""The model and its sub-networks."""
