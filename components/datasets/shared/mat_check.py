"""What a MATLAB file claims of itself, checked before scipy believes it.

scipy reads nested cells by recursion in C, which ends the process where they are nested too deeply, and makes room for
as many values as a header says, whatever follows. Here every size is compared with the bytes that are there. The format
is that of MathWorks, "MAT-File Format", level 5: tagged elements, padded to 8 bytes, some of them compressed."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import NamedTuple

from scipy.io.matlab import matfile_version

from components.data.decode import refuse_special
from components.errors import UserError

MOST_BYTES = 2**27  # of a file, and of what is compressed in it: a perspective map of 16 megapixels
MOST_ARRAYS = 100_000  # cells and fields with all that is in them
DEEPEST = 16  # arrays within one another; the sets that are read have four
HEADER = 128  # bytes before the first element
MATRIX, COMPRESSED = 14, 15  # types of elements
CELL, STRUCT, OBJECT, SPARSE, UINT64 = 1, 2, 3, 5, 15  # classes of arrays; UINT64 is the last of numbers
NESTED = {CELL, STRUCT, OBJECT}


class Element(NamedTuple):
    kind: int
    content: memoryview


def check_mat(path: Path, names: tuple[str, ...]) -> None:
    """Raises UserError: a file of another version or none, or one of the variables called `names` is not what its sizes
    say, is nested too deeply, or is too large. Errors of other types say that the file is damaged."""
    refuse_special(path)
    if path.stat().st_size > MOST_BYTES:
        raise UserError(f"is larger than {MOST_BYTES:,} bytes")
    version = matfile_version(str(path))[0]
    if version != 1:
        raise UserError(f"is a MATLAB {'7.3' if version == 2 else '4'} file: save it in MATLAB with `-v7`")
    content = memoryview(path.read_bytes())
    _Checker("<" if bytes(content[126:128]) == b"IM" else ">", names).file(content[HEADER:])


class _Checker:
    """`order` is that of the bytes, as `struct` calls it."""

    def __init__(self, order: str, names: tuple[str, ...]) -> None:
        self.order, self.names = order, {name.encode() for name in names}
        self.bytes_left, self.arrays_left = MOST_BYTES, MOST_ARRAYS

    def file(self, content: memoryview) -> None:
        for element in self.elements(content):
            if element.kind == COMPRESSED:
                element = next(self.elements(self.inflate(element.content)))
            if element.kind == MATRIX and not self.names.isdisjoint(map(bytes, self.strings(element.content))):
                self.array(element.content)

    def inflate(self, content: memoryview) -> memoryview:
        """What is compressed in an element. Raises UserError: it is more than is left of the bound."""
        inflated = zlib.decompressobj().decompress(content, self.bytes_left)
        self.bytes_left -= len(inflated)
        if self.bytes_left <= 0:
            raise UserError(f"holds more than {MOST_BYTES:,} bytes")
        return memoryview(inflated)

    def strings(self, content: memoryview) -> list[memoryview]:
        """Where the name of an array stands: after its dimensions, or, in classes of MATLAB's own, in their place."""
        return [element.content for _, element in zip(range(3), self.elements(content), strict=False)][1:]

    def array(self, content: memoryview, depth: int = 1) -> None:
        """Raises UserError where an array, or one within it, is not what its header says."""
        self.arrays_left -= 1
        if depth > DEEPEST or self.arrays_left < 0:
            raise UserError(f"has arrays within arrays: more than {DEEPEST} deep, or more than {MOST_ARRAYS:,}")
        if not content:
            return
        flags, dimensions, _, *parts = self.elements(content)
        array_class, number = self.numbers(flags)[0] & 0xFF, prod(self.numbers(dimensions))
        if len(flags.content) != 8 or not 1 <= array_class <= UINT64:
            raise UserError("has a variable that is no array of numbers, text, cells or records")
        if number > len(content) and array_class != SPARSE:
            raise UserError(f"says that it has {number:,} values in {len(content):,} bytes")
        if array_class in NESTED:
            elements = self.records(parts[array_class == OBJECT :], number) if array_class != CELL else parts
            if {part.kind for part in elements} - {MATRIX} or (array_class == CELL and len(elements) != number):
                raise UserError(f"says that it has {number:,} cells and has {len(elements):,}")
            for part in elements:
                self.array(part.content, depth + 1)
        elif MATRIX in {part.kind for part in parts}:
            raise UserError("has an array within an array of numbers")

    def records(self, parts: list[Element], number: int) -> list[Element]:
        """The fields of a struct's records. Raises UserError: they are not as many as it says."""
        length, names, *fields = parts
        each = len(names.content) // self.numbers(length)[0]
        if len(fields) != number * each:
            raise UserError(f"says that it has {number:,} records of {each:,} fields and has {len(fields):,} fields")
        return fields

    def elements(self, content: memoryview) -> Iterator[Element]:
        """Raises UserError: an element reaches beyond its end."""
        while content:
            kind, size = struct.unpack_from(f"{self.order}II", content)
            if kind >> 16:  # a small element: size and type in one word, the content in the other
                kind, size, start, end = kind & 0xFFFF, kind >> 16, 4, 8
            else:
                start, end = 8, 8 + size + (-size % 8 if kind != COMPRESSED else 0)
            if start + size > min(end, len(content)):
                raise UserError(f"is cut off: {size:,} bytes are announced, {len(content) - start:,} are there")
            yield Element(kind, content[start : start + size])
            content = content[end:]

    def numbers(self, element: Element) -> tuple[int, ...]:
        """The 32-bit integers of an element."""
        return struct.unpack(f"{self.order}{len(element.content) // 4}i", element.content)
