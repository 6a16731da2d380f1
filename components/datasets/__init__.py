"""Kinds of data sets: a file reads a raw layout, as images, dots and splits."""
