"""Decides from a report whether the run fails."""
