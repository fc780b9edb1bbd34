"""Trains a face-gender CNN and records what it sees: everything that runs without a screen."""

__version__ = "0.1.0"
