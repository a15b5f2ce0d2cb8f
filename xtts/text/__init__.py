"""From what is written to what is said, and from that to token ids."""
