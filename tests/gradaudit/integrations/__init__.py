"""Tests of where people work: each integration used for real."""
