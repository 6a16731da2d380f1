"""Whether a counter is good enough to replace the one in use: GO, NO-GO or INCONCLUSIVE, with every reason."""
