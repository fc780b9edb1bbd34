"""Looking inside any network: its convolutions, their activations, and what a prediction rests on."""
