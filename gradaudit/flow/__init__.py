"""Reads a trace: opens functions and loops, asks which edges pass a gradient, and builds the gradient graph."""
