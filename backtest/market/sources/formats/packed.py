"""Files out of their zip or gzip wrapping, up to a size; what some programs put beside the data is left out."""

from __future__ import annotations

import gzip
import lzma
import struct
import zipfile
import zlib
from io import BytesIO
from pathlib import Path
from typing import IO

from backtest.errors import DataError

#: What archives raise that are damaged (OSError: bzip2, gzip), encrypted (RuntimeError) or packed otherwise.
UNREADABLE = (
    zipfile.BadZipFile, OSError, zlib.error, lzma.LZMAError, EOFError, RuntimeError, struct.error, ValueError,
)  # fmt: skip

#: Bytes that a packed file may have once it is unpacked: the largest day of trades has about half of them.
MOST_UNPACKED = 2 << 30

ZIP, GZIP = b"PK\x03\x04", b"\x1f\x8b"


def content(path: Path) -> bytes:
    """Return the bytes of a file as it is.

    Raises
    ------
    DataError
        For a file that is absent.
    """
    if not path.is_file():
        raise DataError(f"file {path} {'is a folder, not a file' if path.is_dir() else 'does not exist'}")
    return path.read_bytes()


def unwrapped(data: bytes, path: Path) -> bytes:
    """Return the content of a zip or gzip, recognised by its first bytes, or plain bytes as they are.

    Raises
    ------
    DataError
        For a damaged archive, one with other than one file in it, and one that unpacks to too much.
    """
    try:
        if data[:4] == ZIP or path.suffix == ".zip":
            with zipfile.ZipFile(BytesIO(data)) as archive:
                names = [name for name in archive.namelist() if not is_beside(name)]
                if len(names) != 1:
                    first = ", ".join(names[:3])
                    raise DataError(f"file {path} must hold one file, holds {len(names)}: {first}")
                return member(archive, names[0], f"file {path}")
        if data[:2] != GZIP and path.suffix != ".gz":
            return data
        with gzip.GzipFile(fileobj=BytesIO(data)) as file:
            return bounded(file, f"file {path}")
    except UNREADABLE as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"file {path} is damaged: {error or 'it ends too soon'}") from None


def member(archive: zipfile.ZipFile, name: str, where: str) -> bytes:
    """Return one file of a zip, refused by the size that the zip declares, and by the size it has."""
    declared = archive.getinfo(name).file_size
    if declared > MOST_UNPACKED:
        raise _too_large(where, f"declares {declared:,} bytes")
    with archive.open(name) as file:
        return bounded(file, where)


def bounded(file: IO[bytes] | gzip.GzipFile, where: str) -> bytes:
    """Return what a packed file holds, unless that is more than may be unpacked."""
    data = file.read(MOST_UNPACKED + 1)
    if len(data) > MOST_UNPACKED:
        raise _too_large(where, "holds more")
    return data


def is_beside(name: str) -> bool:
    """Whether a name in a zip is a folder, or what a file manager put beside the data."""
    return name.endswith("/") or name.startswith("__MACOSX/") or Path(name).name in (".DS_Store", "Thumbs.db")


def count_beside(data: bytes) -> int:
    """Return how many files of a zip are no data."""
    if data[:4] != ZIP:
        return 0
    with zipfile.ZipFile(BytesIO(data)) as archive:
        return sum(is_beside(name) and not name.endswith("/") for name in archive.namelist())


def _too_large(where: str, what: str) -> DataError:
    return DataError(
        f"{where} {what}, and at most {MOST_UNPACKED:,} bytes are unpacked: if that is meant, unpack it first"
    )
