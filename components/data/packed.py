"""Many arrays of different shapes in one file, memory-mapped: packed images and density maps.

A pack is a folder of two `.npy` files: `data.npy` holds all arrays end to end, `index.npy` one row per array: its
offset and its shape. Reading an array maps it and copies nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

import numpy as np

from components.errors import UserError


class PackWriter:
    """Append arrays of one dtype and one number of dimensions; the folder is complete when the block ends well."""

    def __init__(self, folder: Path, dtype: np.dtype | type) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.dtype = folder, np.dtype(dtype)
        self._rows: list[tuple[int, ...]] = []
        self._length = 0

    def __enter__(self) -> PackWriter:
        (self.folder / "index.npy").unlink(missing_ok=True)  # of an earlier pack, whose data go now
        self._file = (self.folder / "data.npy").open("wb")
        self._write_header()
        return self

    def append(self, array: np.ndarray) -> None:
        self._rows.append((self._length, *array.shape))
        with _named(self.folder):
            self._file.write(np.ascontiguousarray(array, self.dtype).data)
        self._length += array.size

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with _named(self.folder), self._file:
            if kind is None:
                self._file.seek(0)
                self._write_header()
                np.save(self.folder / "index.npy", np.array(self._rows, np.int64))

    def _write_header(self) -> None:
        # numpy leaves room for a first dimension that grows: the header has one length whatever the count
        header = {"descr": np.lib.format.dtype_to_descr(self.dtype), "fortran_order": False, "shape": (self._length,)}
        np.lib.format.write_array_header_1_0(self._file, header)


@contextmanager
def _named(folder: Path) -> Iterator[None]:
    """An OSError in the block says where: writing to a full disk fails without a name."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(folder)
        raise


def select_arrays(folder: Path, numbers: list[int]) -> None:
    """Reduce a pack to these arrays, in this order; the bytes of the others stay in the file, unread."""
    index = np.load(folder / "index.npy")
    np.save(folder / "index.npy", index[numbers])


class Pack:
    """The arrays of a pack, by their number. Raises UserError where the folder holds none, or a damaged one."""

    def __init__(self, folder: Path) -> None:
        try:
            self._index = np.load(folder / "index.npy")
            empty = len(self._index) == 0
            self._data = np.empty(0) if empty else np.load(folder / "data.npy", mmap_mode="r")
        except (ValueError, EOFError, FileNotFoundError) as error:
            raise UserError(f"{folder}: is not whole ({error}); run the stage that writes it again") from None

    def __len__(self) -> int:
        return len(self._index)

    def __getitem__(self, number: int) -> np.ndarray:
        offset, *shape = self._index[number]
        return self._data[offset : offset + int(np.prod(shape))].reshape(shape)
