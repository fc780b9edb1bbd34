"""Callbacks of a run: what they record, save and report, and when they end it."""
