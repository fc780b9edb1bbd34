"""The networks, their recipes, the LightningModule that trains them, and checkpoint files."""
