"""Errors, text, files and the machine: what all other packages use. Knows nothing of runs, faces or networks."""
