"""Options, kinds, the schema of params, and resolved experiments."""
