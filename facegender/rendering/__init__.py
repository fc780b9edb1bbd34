"""Arrays to pictures: mosaics, pages, overlays and colour maps. The interface may import it."""
