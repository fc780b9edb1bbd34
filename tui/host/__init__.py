"""The process around the interface: its trainers and classifier, its threads, and how it ends."""
