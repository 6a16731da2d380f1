"""Scores of test images, metrics, and intervals."""
