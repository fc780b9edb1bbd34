"""What every part uses and that knows nothing of runs, faces or networks: errors, text, files, the machine."""
