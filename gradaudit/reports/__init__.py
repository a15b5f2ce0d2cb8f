"""A file or a room per report format: a report in, text or pictures out. No TensorFlow, no terminal; writes no file."""
