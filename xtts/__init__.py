"""A text-to-speech model on Keras 3 with its trainer, and the first customer of gradaudit."""
