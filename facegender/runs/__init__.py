"""A run folder as files: configuration, manifest, journal, frames and lock. Imports no torch."""
