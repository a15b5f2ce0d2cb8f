"""The losses, and how a model is assembled and compiled for training."""
