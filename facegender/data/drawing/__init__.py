"""Demo faces: what they look like, and how they are drawn with Pillow."""
