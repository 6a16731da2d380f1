"""The loop that trains a counter together with its density map."""
