"""Kinds of counters: a file is a network from an image to a density map."""
