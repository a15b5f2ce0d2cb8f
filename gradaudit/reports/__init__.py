"""One file per report format: a report in, text or pictures out. No TensorFlow, no files, no terminal."""
