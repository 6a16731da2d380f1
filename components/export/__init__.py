"""A run as one file to give away, checked against the run, and the model card beside it."""
