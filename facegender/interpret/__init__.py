"""Looks inside any network: its convolutions, their activations, Grad-CAM, and where numbers stop being finite."""
