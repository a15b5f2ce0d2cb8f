"""Tests of what turns a trace into a gradient graph."""
