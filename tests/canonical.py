"""Canonical hashes of frames: equal exactly where their values are, whatever the chunks, machine or versions.

A column is its kind and its values in order as little-endian bytes: -0.0 as 0.0, every NaN as one, nulls apart,
times as milliseconds, categories as text.
"""

from __future__ import annotations

import hashlib

import numpy as np
import polars as pl


def column_hash(column: pl.Series) -> str:
    """Return the hash of one column."""
    kind, values = _bytes_of(column)
    found = hashlib.sha256(f"{kind}:{column.len()}:".encode())
    found.update(np.packbits(column.is_null().to_numpy()).tobytes())
    found.update(values)
    return found.hexdigest()[:20]


def frame_hashes(frame: pl.DataFrame) -> dict[str, str]:
    """Return the hash of each column."""
    return {column.name: column_hash(column) for column in frame}


def frames_hash(*frames: pl.DataFrame | None) -> str:
    """Return one hash of several frames, columns in the order of their names."""
    found = hashlib.sha256()
    for frame in frames:
        hashes = {} if frame is None else frame_hashes(frame)
        found.update(repr(sorted(hashes.items())).encode())
    return found.hexdigest()[:20]


def _bytes_of(column: pl.Series) -> tuple[str, bytes]:
    if column.dtype.is_float():
        values = column.fill_null(0.0).cast(pl.Float64).to_numpy().astype("<f8") + 0.0
        values[np.isnan(values)] = np.nan
        return "number", values.tobytes()
    if column.dtype == pl.Boolean:
        return "truth", np.packbits(column.fill_null(False).to_numpy()).tobytes()
    if column.dtype.is_integer():
        return "integer", column.fill_null(0).cast(pl.Int64).to_numpy().astype("<i8").tobytes()
    if column.dtype == pl.Datetime:
        milliseconds = column.dt.cast_time_unit("ms").to_physical().fill_null(0)
        return "time", milliseconds.to_numpy().astype("<i8").tobytes()
    if column.dtype.is_nested():
        raise TypeError(f"no canonical bytes of {column.name}, {column.dtype}")
    texts = column.cast(pl.String).fill_null("").to_list()
    return "text", b"".join(len(text.encode()).to_bytes(8, "little") + text.encode() for text in texts)
