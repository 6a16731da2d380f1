"""dotfield: counters trained together with the density maps they learn from.

README.md, "Where things are", has the rooms. A room imports only from those below it (`[tool.importlinter]` in
pyproject.toml)."""
