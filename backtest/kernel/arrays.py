"""Inputs of the sweep kernels: market, funding, rules, forest of trees, book.

Rows of all symbols lie end to end; ``first`` says where each symbol's begin and holds one number more than there
are symbols. Bars of a symbol are counted from its own first. Times are UTC milliseconds.
"""

from __future__ import annotations

from typing import NamedTuple

from backtest.kernel.types import Bytes, Codes, Flags, Floats, Integers


class Bars(NamedTuple):
    """The price series that triggers liquidation, and what fills are taken from."""

    first: Integers  #: (symbols + 1,)
    interval: Integers  #: (symbols,) ms a bar covers
    regular: Flags  #: (symbols,) no bar is missing, so that a bar is found by division
    time: Integers  #: (bars,) openings
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    traded: bool  #: the series is the last price
    mark_open: Floats  #: (bars,) what exits and adjustments are done at
    fill_long: Floats  #: (bars,) fills that replace the liquidation price, where ``replaced``
    fill_short: Floats
    replaced: bool
    gap_first: Integers  #: (symbols + 1,) into ``gap``
    gap: Integers  #: bars that open after a long gap
    gap_limit: int  #: ms; how much may be missing


class Funding(NamedTuple):
    """Funding a unit of quantity. A symbol with n charges has n + 1 entries: before the first, after each."""

    first: Integers  #: (symbols + 1,)
    time: Integers  #: effective time of the next charge; the last entry lies beyond all times
    cumulative: Floats  #: sum so far
    lowest: Floats  #: least of this sum and all later ones
    highest: Floats
    charged: Codes  #: (bars,) charges made at or before each opening


class Rules(NamedTuple):
    """Contracts under tables of tiers: one group a contract and table, in order of the time they apply from."""

    first: Integers  #: (symbols + 1,) groups of each symbol
    start: Integers  #: (groups,) ms
    known: Flags  #: (groups,) whether any table applies
    successor: Integers  #: (groups,) whose table takes over what is open when it begins; -1: none does
    kind: Integers  #: (groups,) ``ContractKind``
    constant: Flags  #: (groups,) the requirement is the one at entry
    strict: Flags  #: (groups,) triggers below, not at, the maintenance margin
    fee: Floats  #: (groups,) closing fee at the mark
    reserved_fee: Floats  #: (groups,) closing fee at bankruptcy
    included_fee: Floats  #: (groups,) the same where the margin includes it, else 0
    keyed_by: Integers  #: (groups,) ``KeyedBy``
    higher: Flags  #: (groups,) a size on a boundary belongs to the higher tier
    contract_size: Floats  #: (groups,)
    rate_factor: Floats  #: (groups,) maintenance over initial rate, keyed by leverage
    cap: Floats  #: (groups,) largest size the table covers
    tier_first: Integers  #: (groups + 1,)
    floor: Floats  #: (tiers,) sizes; keyed by leverage with a varying requirement: leverages
    rate: Floats
    amount: Floats
    max_leverage: Floats
    hurdle_long: Floats  #: (tiers,) see ``relevant_tiers``
    hurdle_short: Floats
    tree_long: Integers  #: (tiers,) number of the tree to search
    tree_short: Integers
    returned: bool  #: the remaining margin goes back to the holder
    pro_rata: bool  #: reductions release the margin of the closed share


class Forest(NamedTuple):
    """Min-trees over the left-hand sides X of the crossing condition, one a symbol, side and rate in use."""

    values: Floats
    base: Integers  #: (trees,) where each begins
    scale: Floats  #: (trees,) largest magnitude X is made of, for the rounding allowance
    level_first: Integers  #: (symbols + 1,) into ``level``
    level: Integers  #: offsets of each symbol's tree levels


class Positions(NamedTuple):
    """A book, (n,) each."""

    symbol: Codes  #: which symbol, in the market's order
    side: Codes  #: 0 long, 1 short
    entry_time: Integers
    entry_price: Floats
    quantity: Floats
    margin: Floats
    leverage: Floats
    has_margin: bool  #: otherwise margin is entry notional / leverage, and the closing fee where it is included
    has_leverage: bool  #: otherwise leverage is entry notional / margin


class Outcomes(NamedTuple):
    """Outcome of each position, (n,) each; NaN and the earliest time mean null."""

    outcome: Bytes  #: ``OutcomeCode``
    ambiguous: Flags
    certainly_liquidated: Flags
    possibly_liquidated: Flags
    time: Integers
    liquidation_price: Floats
    bankruptcy_price: Floats
    fill_price: Floats
    fill_notional: Floats
    funding_paid: Floats
    equity_at_fill: Floats
    shortfall: Floats
    realised_pnl: Floats
    tier_rate: Floats
    grown: Floats  #: notional of additions; or none where there are none


NO_TIME = -(2**63)
