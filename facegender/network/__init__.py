"""The CNN, its LightningModule and the hooks that look inside."""
