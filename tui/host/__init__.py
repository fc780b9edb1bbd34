"""Processes and threads of the interface: trainers, classifier, run control, shutdown."""
