"""The run folder as code: configuration, journal, frames and pictures. Light: imports no torch."""
