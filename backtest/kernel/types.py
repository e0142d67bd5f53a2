"""Names for the arrays that kernels take, and the codes in them. Importing this imports no compiler."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]
Integers: TypeAlias = npt.NDArray[np.int64]
Flags: TypeAlias = npt.NDArray[np.bool_]
Bytes: TypeAlias = npt.NDArray[np.uint8]
Codes: TypeAlias = npt.NDArray[Any]  # integers of any width, such as polars stores categories in

#: How a contract pays, as kernels are told.
LINEAR, INVERSE, FACE_VALUE = 0, 1, 2
