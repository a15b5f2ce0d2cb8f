"""Corpora, what is prepared of them, and training batches."""
