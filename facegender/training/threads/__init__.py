"""The threads beside training: journal, frames, console, load of the machine."""
