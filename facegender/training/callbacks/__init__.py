"""Callbacks that write a run: the recorder, its checkpoints, when to end early, which files were skipped."""
