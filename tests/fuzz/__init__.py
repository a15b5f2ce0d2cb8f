"""The differential fuzzer: random train steps, judged by gradaudit, by TensorFlow's tape and by numbers."""
