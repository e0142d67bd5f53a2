"""Eight numbers compared at once: the two operations a search in a min-tree is made of.

LLVM does not turn the plain loop over eight children into vector code (measured 3 to 4 times slower), so the
compiled form loads eight float64 as one vector, compares them with the threshold and packs the answers into
eight bits. The plain-Python twins serve ``NUMBA_DISABLE_JIT=1`` and say what the compiled forms mean.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from backtest.kernel.compile import COMPILED

WIDTH = 8


def _lanes_at_most(values: Any, start: int, threshold: float) -> int:
    """Return one bit a lane, lowest first: whether ``values[start + lane] <= threshold``; NaN is no match."""
    bits = 0
    for lane in range(WIDTH):
        if values[start + lane] <= threshold:
            bits |= 1 << lane
    return bits


def _first_lane(bits: int) -> int:
    """Return the lowest lane whose bit is set; at least one must be."""
    return (int(bits) & -int(bits)).bit_length() - 1


def _drop_lanes_before(bits: int, lane: int) -> int:
    """Return the bits with those of all lanes before ``lane`` cleared."""
    return int(bits) & ~((1 << int(lane)) - 1)


if COMPILED:

    @intrinsic
    def lanes_at_most(typingctx: Any, values: Any, start: Any, threshold: Any) -> Any:
        """Compiled twin of ``_lanes_at_most``: load, compare, pack."""
        vector = ir.VectorType(ir.DoubleType(), WIDTH)

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            array, offset, limit = arguments
            data = context.make_array(signature.args[0])(context, builder, array).data
            address = builder.bitcast(builder.gep(data, [offset]), vector.as_pointer())
            loaded = builder.load(address, align=8)
            nothing = ir.Constant(vector, ir.Undefined)
            index = ir.IntType(32)
            one = builder.insert_element(nothing, limit, ir.Constant(index, 0))
            zeros = ir.Constant(ir.VectorType(index, WIDTH), [0] * WIDTH)
            limits = builder.shuffle_vector(one, nothing, zeros)
            matches = builder.fcmp_ordered("<=", loaded, limits)
            return builder.zext(builder.bitcast(matches, ir.IntType(WIDTH)), ir.IntType(64))

        return types.uint64(values, types.int64, types.float64), generate

    @intrinsic
    def first_lane(typingctx: Any, bits: Any) -> Any:
        """Compiled twin of ``_first_lane``: count trailing zeros."""

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            word = ir.IntType(64)
            count = builder.module.declare_intrinsic(
                "llvm.cttz", [word], ir.FunctionType(word, [word, ir.IntType(1)])
            )
            return builder.call(count, [arguments[0], ir.Constant(ir.IntType(1), 1)])

        return types.int64(types.uint64), generate

    @intrinsic
    def drop_lanes_before(typingctx: Any, bits: Any, lane: Any) -> Any:
        """Compiled twin of ``_drop_lanes_before``: mask by a shifted word of ones."""

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            ones = ir.Constant(ir.IntType(64), -1)
            return builder.and_(arguments[0], builder.shl(ones, arguments[1]))

        return types.uint64(types.uint64, types.int64), generate

else:
    lanes_at_most, first_lane, drop_lanes_before = _lanes_at_most, _first_lane, _drop_lanes_before
