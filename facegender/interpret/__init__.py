"""Looks inside any network: its convolutions, their activations, and Grad-CAM."""
