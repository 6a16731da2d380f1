"""Kinds of counting losses: a file says how far the counter's map is from what it should have counted."""
