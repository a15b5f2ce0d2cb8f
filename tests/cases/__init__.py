"""Small train steps, each with the verdicts that TensorFlow's own tape and the numbers confirm."""
