"""Arrays to pictures: tiles, mosaics, pages and colour maps. The interface may import it."""
