"""Looks inside any network: layers, activations, LayerCAM, top patches, receptive fields and health."""
