"""Where people work: pytest, Keras's fit, notebooks."""
