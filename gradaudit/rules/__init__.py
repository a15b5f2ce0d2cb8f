"""The rules: what each says of a group of variables. One file for each, listed in `catalogue`."""
