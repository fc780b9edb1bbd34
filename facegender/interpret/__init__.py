"""Looks inside any network: its convolutions, their activations, and LayerCAM."""
