"""What the replay keeps while it runs: records a position, a queue, a symbol, a bar; accounts; and their names.

One record holds everything that changes about one position, so that touching a position touches few lines of the
cache. Money is whole units (``settings.unit`` to one of settlement currency), quantities are also whole lots.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from backtest.kernel import formula, segment
from backtest.kernel.arrays import Rules
from backtest.kernel.compile import helper, part
from backtest.kernel.segment import Segment
from backtest.kernel.types import FACE_VALUE, INVERSE, Codes, Integers

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
(EXTRA_USED, EXTRA_FREE, TABLE_USED, TRACE_USED, FULL, DROPPED, WINDOW_FIRST, WINDOW_END, NEED_FIRST,
 NEED_END) = range(10)  # fmt: skip
COUNTERS = 10

POSITION = np.dtype(
    [
        ("quantity", "f8"),
        ("entry_price", "f8"),
        ("margin", "f8"),
        ("leverage", "f8"),
        ("entry_funding", "f8"),
        ("share", "f8"),  #: of it that neither procedure nor deleveraging has closed; scales its holder's changes
        ("stop_price", "f8"),
        ("take_profit_price", "f8"),
        ("id", "i8"),
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

#: One contract under one table of tiers, and one tier of it: what ``arrays.Rules`` holds, as records. One group
#: more than there are says where the tiers end.
GROUP_RECORD = np.dtype(
    [
        *((name, "i8") for name in ("kind", "keyed_by", "tier_first")),
        *((name, "f8") for name in ("fee", "reserved_fee", "contract_size", "rate_factor")),
        *((name, "b1") for name in ("constant", "strict", "higher")),
    ],
    align=True,
)
TIER_RECORD = np.dtype(
    [
        *((name, "f8") for name in ("floor", "rate", "amount", "hurdle_long", "hurdle_short")),
        *((name, "i8") for name in ("queue_long", "queue_short")),
    ],
    align=True,
)

#: Prices of one bar, and what is known of it.
BAR = np.dtype(
    [
        *((name, "i8") for name in ("time", "charged")),
        *((name, "f8") for name in (
            "open", "high", "low", "mark_open", "fill_long", "fill_short", "volume", "watched_open",
            "watched_high", "watched_low",
        )),
    ],
    align=True,
)  # fmt: skip

#: Funding: the sum with a charge and all before it, the charge before any offset, how far the sum may yet go.
CHARGE = np.dtype([(name, "f8") for name in ("cumulative", "amount", "fall", "rise")], align=True)

#: A position in a wave or a ranking; a moment and the fund then.
RANKED = np.dtype([("key", "f8"), ("id", "i8"), ("i", "i4")], align=True)
MOMENT = np.dtype([("time", "i8"), ("fund", "i8")], align=True)

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
        ("stock", "i8", (3,)),  #: lots of traders, market and backstop
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

    groups: Records  #: (groups + 1,)
    tiers: Records
    settings: Records  #: (1,)
    symbols: Records
    book: Records  #: (n,) POSITION
    nodes: Records
    heads: Codes  #: (queues * buckets,) int32
    queues: Records
    members: Codes  #: (n,) int32, open positions by symbol and side
    wave: Records  #: (n,) RANKED
    ranking: Records  #: (n,) RANKED
    cash: Integers  #: (ACCOUNTS,)
    counters: Integers
    steps: Records  #: (rows,)
    needs: Records
    table: Records
    trace: Records
    bars: Records  #: (rows,) BAR
    charges: Records  #: CHARGE
    window: Records  #: MOMENT


@helper
def rules_of(groups: Records, tiers: Records) -> Rules:
    """Return the rules as the margin model's own kernels take them; what only sweeps need is left empty."""
    return Rules(
        first=groups["kind"], start=groups["kind"], known=groups["constant"], kind=groups["kind"],
        constant=groups["constant"], strict=groups["strict"], fee=groups["fee"],
        reserved_fee=groups["reserved_fee"], keyed_by=groups["keyed_by"], higher=groups["higher"],
        contract_size=groups["contract_size"], rate_factor=groups["rate_factor"], cap=groups["fee"],
        tier_first=groups["tier_first"], floor=tiers["floor"], rate=tiers["rate"], amount=tiers["amount"],
        max_leverage=tiers["rate"], hurdle_long=tiers["hurdle_long"], hurdle_short=tiers["hurdle_short"],
        tree_long=tiers["queue_long"], tree_short=tiers["queue_short"], returned=False,
    )  # fmt: skip


@helper
def whole(number: Any) -> int:
    """Return a number as a whole one of 64 bits."""
    return np.int64(number)  # type: ignore[return-value]


@helper
def units(amount: float) -> int:
    """Return an amount in whole units."""
    return whole(np.rint(amount))


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


@part
def terms(groups: Records, tiers: Records, book: Records, i: int) -> Segment:
    """Return a position as it stands."""
    held = book[i]
    return segment.begin(
        rules_of(groups, tiers), whole(held["group"]), whole(held["symbol"]), sign(whole(held["side"])),
        held["quantity"], held["entry_price"], held["margin"], held["leverage"], held["entry_funding"],
    )  # fmt: skip


@helper
def unrealised(kind: int, side: float, quantity: float, entry_price: float, price: float) -> float:
    """Return the result of a position at a price, before funding."""
    if kind == INVERSE:
        return (side * quantity) * (1.0 / entry_price - 1.0 / price)
    return (side * quantity) * (price - entry_price)


@part
def equity_at(held: Segment, price: float, funding: float) -> float:
    """Return a position's equity at a price and a cumulative funding."""
    return formula.equity(
        held.kind, held.side, held.quantity, held.entry_price, held.margin, held.entry_funding, price, funding
    )


@part
def requirement_at(tiers: Records, held: Segment, price: float) -> float:
    """Return the equity a position must keep at a price."""
    return formula.maintenance_margin(
        held.kind, held.quantity, price, tiers["rate"], tiers["amount"], held.first, held.last, held.constant,
        held.base, held.reserved, held.fee,
    )  # fmt: skip


@part
def triggers_at(groups: Records, tiers: Records, held: Segment, price: float, funding: float) -> bool:
    """Return whether a position is liquidated at a price, by the direct formula."""
    return segment.triggers(rules_of(groups, tiers), held, price, funding)


@part
def liquidation_price_at(groups: Records, tiers: Records, held: Segment, funding: float) -> float:
    """Return where equity meets the maintenance margin at a funding."""
    rules = rules_of(groups, tiers)
    low, high = segment.tiers_between(rules, held, funding, funding)
    return segment.liquidation_price(rules, held, low, high, funding)


@part
def rate_at(groups: Records, tiers: Records, held: Segment, funding: float) -> float:
    """Return the rate of the tier whose requirement meets equity at the liquidation price."""
    rules = rules_of(groups, tiers)
    low, high = segment.tiers_between(rules, held, funding, funding)
    return segment.triggering_rate(rules, held, low, high, funding)


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
    return math.exp(symbols[y]["permanent"] + symbols[y]["decaying"])
