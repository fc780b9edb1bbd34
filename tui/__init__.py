"""The terminal interface: reads run folders, starts trainers, never imports torch."""
