"""Positions as the arrays kernels take, and the survey of them in one pass: refusals, trees to search."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from backtest.engine.sweep.prepare import Prepared
from backtest.kernel.arrays import Positions
from backtest.kernel.sweep import admission
from backtest.kernel.sweep.adjustments import Actions
from backtest.kernel.sweep.admission import Refusal
from backtest.kernel.threads import in_chunks
from backtest.kernel.types import Bytes, Flags, readonly


@dataclass(frozen=True, eq=False)
class Survey:
    """Result of one pass over a book."""

    refusals: Bytes  #: (n,) ``Refusal``
    used: Flags  #: (trees,) trees that the positions not refused may need

    def refused_for(self, *reasons: Refusal) -> Flags:
        """Return (n,) whether each position is refused for one of some reasons."""
        return np.isin(self.refusals, reasons)


def survey(positions: Positions, prepared: Prepared, actions: Actions, threads: int | None) -> Survey:
    """Return the refused positions of a book, and the trees that the rest needs."""
    refusals = np.empty(positions.side.size, np.uint8)

    def run(begin: int, stop: int) -> Flags:
        used = np.zeros(len(prepared.rules.trees), np.bool_)
        rules = prepared.rules.rules
        admission.survey(prepared.bars, prepared.funding, rules, positions, actions, refusals, used, begin, stop)
        return used

    parts = in_chunks(run, refusals.size, threads) or [run(0, 0)]
    return Survey(refusals, np.any(parts, axis=0))


def position_arrays(frame: pl.DataFrame, prepared: Prepared) -> Positions:
    """Return positions as arrays; a missing margin or leverage is replaced by the other."""
    has_margin, has_leverage = "margin" in frame.columns, "leverage" in frame.columns
    given = {name: _array(frame, name) for name in ("margin", "leverage") if name in frame.columns}
    either = next(iter(given.values()))
    return Positions(
        symbol=symbol_codes(frame["symbol"], prepared.market.symbols),
        side=readonly(frame["side"].to_physical().rechunk().to_numpy()),
        entry_time=readonly(frame["entry_time"].to_physical().rechunk().to_numpy()),
        entry_price=_array(frame, "entry_price"),
        quantity=_array(frame, "quantity"),
        margin=given.get("margin", either),
        leverage=given.get("leverage", either),
        has_margin=has_margin,
        has_leverage=has_leverage,
    )


def symbol_codes(symbols: pl.Series, known: tuple[str, ...]) -> Any:
    """Return which of the known symbols each is."""
    if len(known) == 1:
        return readonly(np.zeros(symbols.len(), np.uint8))
    physical = symbols.cast(pl.Enum(known)).to_physical()
    return readonly(physical.cast(pl.UInt8 if len(known) < 256 else pl.UInt32).rechunk().to_numpy())


def _array(frame: pl.DataFrame, name: str) -> Any:
    return readonly(frame[name].rechunk().to_numpy())
