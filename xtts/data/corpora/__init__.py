"""How each kind of corpus lies on disk: one module for each, and `recordings.py`, which they all give."""
