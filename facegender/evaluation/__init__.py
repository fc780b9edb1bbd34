"""What a network gets right and wrong: figures, mistakes and suspect labels. Light: numpy, no torch."""
