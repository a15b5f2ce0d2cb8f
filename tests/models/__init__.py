"""Architectures of keras.applications and keras-hub with their usual heads, small, and with weights at random."""
