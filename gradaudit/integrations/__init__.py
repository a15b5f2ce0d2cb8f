"""Where people work: pytest and Keras's fit."""
