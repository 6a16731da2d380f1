"""Labelled pictures that arrive in a folder or bucket: found, examined, taken into a raw data set, and checked."""
