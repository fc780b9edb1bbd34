"""Photographs: finding, checking, splitting, caching, drawing and loading them."""
