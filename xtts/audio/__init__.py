"""From a recording to samples, and from samples to features."""
