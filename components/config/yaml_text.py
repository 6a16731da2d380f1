"""YAML of which nobody knows who wrote it: plain values of a bounded size, or a UserError that says the line."""

from __future__ import annotations

from typing import Any

import yaml

from components.errors import UserError, one_line

MOST = 1_000_000  # characters of a file, and of what its aliases repeat


class UniqueKeyLoader(yaml.SafeLoader):
    """YAML that refuses a key which stands twice in a mapping: otherwise the first value would be lost silently."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._checked: set[yaml.MappingNode] = set()

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Check the keys as they are written, once: PyYAML then adds the keys of `<<` to them, and may call this again
        for a mapping that others merge."""
        seen: set[str] = set()
        for key, _ in node.value if node not in self._checked else ():
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} stands twice", key.start_mark)
            seen |= {key.value} if isinstance(key, yaml.ScalarNode) else set()
        self._checked.add(node)
        super().flatten_mapping(node)


def parse(text: str) -> Any:
    """The value of a YAML document. Raises UserError: not YAML, or more than `MOST` with all that aliases repeat."""
    if len(text) > MOST:
        raise UserError(f"has more than {MOST:,} characters")
    try:
        loader = UniqueKeyLoader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        if _expanded_size(node, {}) > MOST:
            raise UserError(f"its aliases repeat more than {MOST:,} characters")
        return loader.construct_document(node)
    except UserError:
        raise
    except Exception as error:  # PyYAML's constructors fail with errors of any type: !!timestamp x, 2024-13-45
        raise UserError(f"is not YAML: {_describe(error)}") from None


def _expanded_size(node: yaml.Node, sizes: dict[yaml.Node, int]) -> int:
    """Characters of a node with each alias written out, and one for each collection. `sizes` are those of nodes that
    were met before. Raises UserError: a node that holds itself."""
    if isinstance(node, yaml.ScalarNode):
        return 1 + len(node.value)
    if node not in sizes:
        sizes[node] = -1
        pairs = isinstance(node, yaml.MappingNode)
        children = [part for pair in node.value for part in pair] if pairs else node.value
        sizes[node] = 1 + sum(_expanded_size(part, sizes) for part in children)
    if sizes[node] < 0:
        raise UserError(f"line {node.start_mark.line + 1}: an alias stands within what it repeats")
    return sizes[node]


def _describe(error: Exception) -> str:
    """What is wrong, in one line, and the line of the file where YAML says so."""
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    if mark:
        return f"line {mark.line + 1}: {problem}"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return one_line(error)
