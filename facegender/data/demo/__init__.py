"""Faces that the program draws, so that everything can be tried without a data set."""
