"""How good speech is: what is understood of it, whose voice it is, and how far it is from a recording."""
