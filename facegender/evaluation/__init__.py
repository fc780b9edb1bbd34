"""What a network predicts correctly and wrongly: figures, mistakes and suspect labels. Light: numpy, no torch."""
