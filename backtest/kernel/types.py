"""Types of the arrays that kernels take. Importing this imports no compiler."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]
Integers: TypeAlias = npt.NDArray[np.int64]
Flags: TypeAlias = npt.NDArray[np.bool_]
Bytes: TypeAlias = npt.NDArray[np.uint8]
Codes: TypeAlias = npt.NDArray[Any]  # integers of any width, such as polars stores categories in


def readonly(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return a contiguous view that cannot be written to; read-only inputs alone mean one compilation."""
    view = np.ascontiguousarray(array).view()
    view.flags.writeable = False
    return view


def aligned(size: int) -> np.ndarray[Any, Any]:
    """Return an uninitialised float64 array that starts on a cache line (64 bytes)."""
    raw = np.empty(size * 8 + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + size * 8].view(np.float64)
