"""Train a face-gender CNN and record what it sees: everything that works without the interface."""

__version__ = "0.1.0"
