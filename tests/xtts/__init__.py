"""Tests of the model and its trainer."""
