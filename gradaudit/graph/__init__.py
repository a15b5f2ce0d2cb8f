"""The vocabulary: gradient graphs, loss terms, verdicts and reports. No TensorFlow, no files, no terminal."""
