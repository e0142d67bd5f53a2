"""What the replay keeps while it runs: records a position, a queue, a symbol, a bar; accounts; and their names.

One record holds everything that changes about one position, so that touching a position touches few lines of the
cache. Money is whole units (``settings.unit`` to one of settlement currency), quantities are also whole lots.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from backtest.kernel import formula, segment
from backtest.kernel.arrays import Rules
from backtest.kernel.compile import helper
from backtest.kernel.segment import Segment
from backtest.kernel.types import FACE_VALUE, INVERSE, Codes, Floats, Integers

Records: TypeAlias = npt.NDArray[Any]

#: Where a position is.
WAITING, HELD, CHOSEN, LOCKED, DONE = range(5)
#: Outcomes that ``schemas.Outcome`` has in this order; the replay adds the last two.
REDUCED, DELEVERAGED = 6, 7
#: Accounts of the ledger.
TRADERS, MARKET, FUND, FEES, BACKSTOP, DEFICIT, OWNERS = range(7)
ACCOUNTS = 7
#: Settings of procedures, in the order of ``rules.procedure.CHOICES``.
ALL, FRACTION, TIER, ENOUGH = range(4)
TO_MARKET, TO_TAKEOVER = range(2)
THEN_TAKEOVER, THEN_MARKET = range(2)
OWNED_BY_FUND, OWNED_BY_BACKSTOP = range(2)
AT_ONCE, BY_SHARE, HOLD = range(3)
NEVER, FUND_EMPTY, FUND_DROP = range(3)
PROFIT_LEVERAGE, BINANCE, BITMEX, SIZE, RANDOM, PRO_RATA, TOP_TEN, WATER_FILLING = range(8)
AT_BANKRUPTCY, AT_MARK, AT_TAKEOVER = range(3)
RETURNED, TO_FUND, SHARED = range(3)
BANKRUPTCY, BANKRUPTCY_WITH_FEE, BACKSTOP_PRICE = range(3)
BY_PRICE, BY_LARGEST, BY_ID = range(3)
#: Steps of a trace.
(ENTERED, TRIGGERED, FILLED, TAKEN_OVER, RELEASED, WAITS, DELEVERAGES, COUNTERPARTY, SETTLED, HOLDER_CLOSED,
 ADJUSTED, CLAWED, LOST_SIGHT) = range(13)  # fmt: skip
#: Counters.
EXTRA_USED, EXTRA_FREE, TABLE_USED, TRACE_USED, FULL, DROPPED, WINDOW_FIRST, WINDOW_END = range(8)

POSITION = np.dtype(
    [
        ("quantity", "f8"),
        ("entry_price", "f8"),
        ("margin", "f8"),
        ("leverage", "f8"),
        ("entry_funding", "f8"),
        ("stop_price", "f8"),
        ("take_profit_price", "f8"),
        ("lots", "i8"),
        ("begun", "i8"),  #: lots when the procedure began
        ("balance", "i8"),  #: money in the position: margin and flows so far
        ("pocket", "i8"),  #: its holder's money outside it, counted from nothing
        ("fees", "i8"),
        ("fund_effect", "i8"),  #: what the fund got on account of it
        ("done", "f8"),  #: quantity closed by the procedure
        ("filled", "f8"),
        ("taken", "f8"),
        ("deleveraged", "f8"),
        ("fill_price", "f8"),
        ("fill_notional", "f8"),
        ("paid", "f8"),  #: funding paid in segments that are over
        ("equity", "f8"),  #: at the last fill
        ("liquidation_price", "f8"),
        ("bankruptcy_price", "f8"),
        ("tier_rate", "f8"),
        ("time", "i8"),
        ("group", "i4"),
        ("symbol", "i4"),
        ("start", "i4"),  #: first bar that tests the present segment
        ("made", "i4"),  #: charges at or before the entry
        ("exit_bar", "i4"),
        ("exit_made", "i4"),  #: charges at or before the exit
        ("rounds", "i4"),
        ("spent", "i4"),  #: rounds used in ``spent_bar``
        ("spent_bar", "i4"),
        ("place", "i4"),  #: among the open positions of its side
        ("extra", "i4"),  #: first of its further nodes
        ("side", "i1"),  #: 0 long, 1 short
        ("status", "u1"),
        ("outcome", "u1"),
        ("event", "u1"),
        ("ambiguous", "b1"),
        ("lost", "b1"),  #: entered across a long gap
        ("inside", "b1"),  #: entered strictly inside the bar before ``start``
    ],
    align=True,
)

NODE = np.dtype(
    [("theta", "f8"), ("next", "i4"), ("previous", "i4"), ("slot", "i4"), ("owner", "i4"), ("sibling", "i4")],
    align=True,
)

QUEUE = np.dtype(
    [
        ("slope", "f8"),
        ("top", "f8"),  #: largest X of the history
        ("scale", "f8"),  #: buckets a unit of X
        ("largest", "f8"),  #: magnitude in X, for the rounding allowance
        ("side", "f8"),
        ("first", "i4"),  #: no bucket before it holds a node
        ("count", "i4"),
    ],
    align=True,
)

SYMBOL = np.dtype(
    [
        ("first", "i8"),  #: its first row of bars
        ("count", "i8"),
        ("interval", "i8"),
        ("funding_first", "i8"),
        ("funding_now", "i8"),  #: the last charge made, absolute
        ("permanent", "f8"),
        ("decaying", "f8"),
        ("time_before", "i8"),
        ("mark", "f8"),  #: last known, for unrealised profit
        ("lot", "f8"),
        ("kind", "i4"),
        ("rounds", "i4"),  #: a bar
        ("queue", "i4", (4,)),  #: long queues from, short ones from, watched low, watched high
        ("member_first", "i8", (2,)),
        ("member_count", "i8", (2,)),
        ("waiting_first", "i4", (2,)),  #: orders left for the next opening, by side
        ("waiting_last", "i4", (2,)),
        ("inventory", "i8", (2,)),  #: lots taken over
        ("cost", "i8", (2,)),
        ("executed", "f8", (2,)),  #: notional executed in this bar
        ("room", "f8"),  #: notional that may still be
        ("backstop_room", "f8"),
    ],
    align=True,
)

SETTINGS = np.dtype(
    [
        *((name, "i4") for name in (
            "step", "until", "slices", "last", "inventory", "unwind", "adl_trigger", "adl_rank", "adl_price",
            "adl_profit_required", "clawback", "restore_orders", "remainder", "takeover_price", "order",
        )),
        *((name, "i8") for name in ("rounds", "generations", "intrabar", "test_entry_bar", "same_series", "trace",
                                    "buckets", "base_nodes", "seed", "replaced", "deposits")),
        *((name, "f8") for name in (
            "step_fraction", "partial_from", "order_notional", "liquidation_fee_rate", "fee_fund_share",
            "trading_fee_rate", "trading_fee_fund_share", "remainder_fund_share", "backstop_capacity",
            "backstop_deviation", "unwind_share", "adl_drop", "adl_window", "takeover_discount",
            "closing_fee_rate", "participation", "linear", "square_root", "mark", "permanent", "half_life",
            "largest_offset", "unit",
        )),
    ],
    align=True,
)  # fmt: skip

STEP = np.dtype(
    [
        ("offset", "f8"),
        ("fund", "i8"),
        ("fund_in", "i8"),
        ("fund_out", "i8"),
        ("triggered", "i8", (2,)),  #: notional by side of position, at the mark
        ("executed", "i8", (2,)),  #: in the book
        ("taken_over", "i8", (2,)),
        ("deleveraged", "i8", (2,)),
        ("first_wave", "i8"),
        ("generations", "i4"),
        ("capped", "i4"),  #: generations or offset cut short
        ("runaway", "i4"),
        ("waiting", "i4"),
    ],
    align=True,
)

NEED = np.dtype([("who", "i4"), ("lots", "i8"), ("value", "f8"), ("base", "f8"), ("bankrupt", "i4")], align=True)

TABLE = np.dtype(
    [("row", "i8"), ("liquidated", "i4"), ("counterparty", "i4"), ("symbol", "i4"), ("side", "i4"),
     ("quantity", "f8"), ("price", "f8"), ("score", "f8"), ("given_up", "f8")],
    align=True,
)  # fmt: skip

TRACE = np.dtype(
    [("row", "i8"), ("step", "i4"), ("price", "f8"), ("quantity", "f8"), ("held", "f8"), ("equity", "f8"),
     ("maintenance_margin", "f8"), ("balance", "i8"), ("fund", "i8")],
    align=True,
)  # fmt: skip


class World(NamedTuple):
    """Everything a replay reads and writes."""

    rules: Rules
    settings: Records  #: (1,)
    symbols: Records
    book: Records  #: (n,) POSITION
    ids: Integers  #: (n,)
    nodes: Records
    heads: Codes  #: (queues * buckets,) int32
    queues: Records
    tree_queue: Codes  #: (trees,) int32
    members: Codes  #: (n,) int32, open positions by symbol and side
    chosen: Codes  #: (n,) int32
    keys: Floats  #: (n,)
    ranked: Codes  #: (n,) int32
    scores: Floats  #: (n,)
    cash: Integers  #: (ACCOUNTS,)
    stock: Integers  #: (3 * symbols,) lots of traders, market and backstop
    counters: Integers
    steps: Records  #: (rows,)
    needs: Records
    need_count: Integers  #: (2,) first and end
    table: Records
    trace: Records
    time: Integers  #: (rows,) openings
    open: Floats
    high: Floats
    low: Floats
    mark_open: Floats
    fill_long: Floats
    fill_short: Floats
    volume: Floats  #: notional, settlement currency
    watched_open: Floats
    watched_high: Floats
    watched_low: Floats
    charged: Codes
    cumulative: Floats  #: of funding, filled in as it is charged
    amount: Floats  #: of each charge, before any offset
    fall: Floats  #: how far cumulative funding may yet fall from here
    rise: Floats
    window_time: Integers
    window_fund: Integers


@helper
def units(amount: float) -> int:
    """Return an amount in whole units."""
    return np.int64(np.rint(amount))


@helper
def value(kind: int, price: float) -> float:
    """Return what a unit of quantity is worth at a price, up to a constant."""
    return -1.0 / price if kind == INVERSE else price


@helper
def price_of(kind: int, value_: float) -> float:
    """Return the price a unit of quantity is worth a value at; infinite or negative where there is none."""
    if kind != INVERSE:
        return value_
    return -1.0 / value_ if value_ < 0.0 else np.inf


@helper
def sign(side: int) -> float:
    """Return +1 for a long (0), -1 for a short (1)."""
    return 1.0 - 2.0 * side


@helper
def terms(rules: Rules, book: Records, i: int) -> Segment:
    """Return a position as it stands."""
    held = book[i]
    return segment.begin(
        rules, np.int64(held["group"]), np.int64(held["symbol"]), sign(np.int64(held["side"])), held["quantity"],
        held["entry_price"], held["margin"], held["leverage"], held["entry_funding"],
    )  # fmt: skip


@helper
def unrealised(kind: int, side: float, quantity: float, entry_price: float, price: float) -> float:
    """Return the result of a position at a price, before funding."""
    if kind == INVERSE:
        return (side * quantity) * (1.0 / entry_price - 1.0 / price)
    return (side * quantity) * (price - entry_price)


@helper
def equity_at(held: Segment, price: float, funding: float) -> float:
    """Return a position's equity at a price and a cumulative funding."""
    return formula.equity(
        held.kind, held.side, held.quantity, held.entry_price, held.margin, held.entry_funding, price, funding
    )


@helper
def requirement_at(rules: Rules, held: Segment, price: float) -> float:
    """Return the equity a position must keep at a price."""
    return formula.maintenance_margin(
        held.kind, held.quantity, price, rules.rate, rules.amount, held.first, held.last, held.constant,
        held.base, held.reserved, held.fee,
    )  # fmt: skip


@helper
def bankruptcy_value(held: Segment, funding: float) -> float:
    """Return the value of a unit where equity is zero; it exists even where no such price does."""
    signed = held.side * held.quantity
    return (value(held.kind, held.entry_price) - held.margin / signed) + (funding - held.entry_funding)


@helper
def bounded(kind: int, price: float) -> float:
    """Return a price inside the range a contract's prices have."""
    return min(max(price, 0.0), 1.0) if kind == FACE_VALUE else price


@helper
def factor(symbols: Records, y: int) -> float:
    """Return what the history's prices are multiplied by."""
    return np.exp(symbols[y]["permanent"] + symbols[y]["decaying"])
