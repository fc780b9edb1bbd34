"""Inline pictures in the terminal: the probe, the protocols, and the widget that shows a picture."""
