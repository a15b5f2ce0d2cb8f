"""Captures a train step without running it: weights without memory, tapes, gradient calls, source lines."""
