"""Kinds of counting losses: a file compares the counter's map with a density map, or with dots."""
