"""dotfield: counters trained together with the density maps they learn from.

README.md, "Where things are", has the packages. A package imports only from those above it in that list
(`[tool.importlinter]` in pyproject.toml)."""
