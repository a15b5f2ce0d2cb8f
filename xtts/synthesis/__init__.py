"""A trained model speaks: from text to sound, and as a file that speaks without this package."""
