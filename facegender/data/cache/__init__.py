"""Photographs decoded and resized once: the file they are kept in, who fills it, and what is removed to make room."""
