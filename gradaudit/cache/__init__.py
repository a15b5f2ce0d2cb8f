"""Answers that are kept: what an audit was made from, and whether all of that still is as it was."""
