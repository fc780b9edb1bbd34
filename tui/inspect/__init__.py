"""From a frame to a picture: what is selected, how it is composed, and the panes and keys that show it."""
