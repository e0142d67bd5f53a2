"""Records of a replay: position, queue, symbol, bar, step, and settings.

One record holds everything that changes about one position, so that touching a position touches few lines of the
cache. Money is whole units (``settings.unit`` to one of settlement currency), quantities are also whole lots.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Records: TypeAlias = npt.NDArray[Any]

#: An open position. What becomes of it is written to ``Found`` when it ends, and its place is another's.
POSITION = np.dtype(
    [
        ("quantity", "f8"),
        ("entry_price", "f8"),
        ("margin", "f8"),
        ("leverage", "f8"),
        ("entry_funding", "f8"),
        ("lots", "i8"),
        ("balance", "i8"),  #: money in the position: margin and flows so far
        ("group", "i4"),
        ("symbol", "i4"),
        ("side", "i1"),  #: 0 long, 1 short
        ("status", "u1"),
        ("outcome", "u1"),
        ("event", "u1"),
        ("ambiguous", "b1"),
        ("due", "b1"),  #: a planned exit came due while it was locked
        ("row", "i4"),  #: in the book
        ("nodes", "i4"),  #: first of its nodes for liquidation, the others follow as siblings
        ("stop_node", "i4"),
        ("target_node", "i4"),
        ("cell", "i4"),  #: of open positions it is listed in, with neighbours there
        ("next_member", "i4"),
        ("previous_member", "i4"),
        ("asked", "i4"),  #: number of the last pool it was a candidate of
        ("following", "i4"),  #: behind it in a list of those that wait, have ended, or are free
        ("start", "i4"),  #: first bar that tests the present segment
        ("id", "i8"),
        ("stop_price", "f8"),
        ("take_profit_price", "f8"),
        ("liquidation_price", "f8"),
        ("bankruptcy_price", "f8"),
        ("tier_rate", "f8"),
        ("paid", "f8"),  #: funding paid in segments that are over
        ("equity", "f8"),  #: at the last fill
        ("fill_price", "f8"),
        ("fill_notional", "f8"),
        ("time", "i8"),
        ("pocket", "i8"),  #: its holder's money outside it, starting at zero
        ("fees", "i8"),
        ("added", "i8"),  #: margin that its holder added while it was held, less what reductions paid out
        ("grown", "f8"),  #: notional of its holder's additions
        ("share", "f8"),  #: of it that neither procedure nor deleveraging has closed; scales its holder's changes
        ("fund_effect", "i8"),  #: what the fund got on account of it
        ("clawed", "i8"),  #: what others' shortfalls took from it
        ("begun", "i8"),  #: lots when the procedure began
        ("done", "f8"),  #: quantity closed by the procedure
        ("filled", "f8"),
        ("taken", "f8"),
        ("deleveraged", "f8"),
        ("given_price", "f8"),  #: mean price of what it gave as a counterparty, its notional, and the equity in it
        ("given_notional", "f8"),
        ("given_equity", "f8"),
        ("rounds", "i4"),
        ("spent", "i4"),  #: rounds used in ``spent_bar``
        ("spent_bar", "i4"),
        ("triggered_row", "i4"),  #: bar in which it was last counted as triggered
        ("opening_only", "i4"),  #: bar that it leaves inside, of which only the opening is tested
    ],
    align=True,
)

#: One contract under one table of tiers, and one tier of it: what ``arrays.Rules`` holds, as records. One group
#: more than there are says where the tiers end.
GROUP_RECORD = np.dtype(
    [
        *((name, "i8") for name in ("kind", "keyed_by", "tier_first", "successor", "row")),
        *((name, "f8") for name in ("fee", "reserved_fee", "included_fee", "contract_size", "rate_factor")),
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
            "open", "high", "low", "close", "mark_open", "fill_long", "fill_short", "volume", "watched_open",
            "watched_high", "watched_low", "watched_close",
        )),
    ],
    align=True,
)  # fmt: skip

#: Funding: the sum with a charge and all before it, the charge before any offset, how far the sum may yet go.
CHARGE = np.dtype([(name, "f8") for name in ("cumulative", "amount", "fall", "rise")], align=True)

#: A position in a wave or a ranking; a moment and the fund then.
RANKED = np.dtype([("key", "f8"), ("id", "i8"), ("i", "i4")], align=True)

MOMENT = np.dtype([("time", "i8"), ("fund", "i8")], align=True)

#: Open positions of a symbol and side that resemble each other, and what bounds them.
CELL = np.dtype(
    [
        ("head", "i4"),
        ("count", "i4"),
        *((name, "f8") for name in (
            "entry_low", "entry_high",  # side times value at the entry
            "debt_low", "debt_high",  # side times value at which equity is zero before funding
            "own_high",  # quantity, or lot drawn
        )),
    ],
    align=True,
)  # fmt: skip

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
        ("cells", "i8", (2,)),  #: first cell of its longs, of its shorts
        ("members", "i8", (2,)),  #: open longs, open shorts
        ("indexed", "i4", (2,)),  #: whether they are spread over cells
        ("asked", "i8", (2,)),  #: positions scored while they are not
        ("placed", "i8", (2,)),  #: positions put into cells since their edges were set
        ("worst", "f8"),  #: value a unit at which the present pool is worst for counterparties
        ("waiting_first", "i4", (2,)),  #: orders left for the next opening, by side
        ("waiting_last", "i4", (2,)),
        ("stock", "i8", (3,)),  #: lots of traders, market and backstop
        ("inventory", "i8", (2,)),  #: lots taken over
        ("cost", "i8", (2,)),
        ("executed", "f8", (2,)),  #: notional executed in this bar
        ("group_first", "i8"),
        ("group_end", "i8"),
        ("table_row", "i8"),  #: row at which the next table applies to open positions
        ("room", "f8"),  #: notional that may still be
        ("backstop_room", "f8"),
    ],
    align=True,
)

#: Settings that are parts of whole numbers, as numerator and denominator.
RATIOS = ("step_fraction", "fee_fund_share", "trading_fee_fund_share", "remainder_fund_share", "adl_drop")

SETTINGS = np.dtype(
    [
        *((name, "i4") for name in (
            "step", "until", "slices", "in_lowest", "order_type", "order_limit", "last", "inventory", "unwind",
            "adl_trigger", "adl_rank", "adl_price", "adl_profit_required", "clawback", "restore_orders",
            "liquidation_fee_beyond_margin", "remainder", "takeover_price", "order", "pro_rata",
        )),
        *((name, "i8") for name in (
            "rounds", "tier_step", "whole_tiers", "waves", "intrabar", "test_entry_bar", "test_exit_bar",
            "same_series", "traded", "trace", "buckets", "orders", "seed", "replaced", "cell_rows",
            "cell_columns", "index_after", "index_least",
        )),
        *((name, "f8") for name in (
            "partial_from", "order_notional", "takeover_below", "liquidation_fee_rate", "adl_mark_beyond",
            "trading_fee_rate", "backstop_capacity", "backstop_deviation", "unwind_share", "adl_window",
            "takeover_discount", "closing_fee_rate", "participation", "linear", "square_root", "mark", "permanent",
            "half_life", "largest_offset", "unit",
        )),
        *((name, "i8", (2,)) for name in RATIOS),
    ],
    align=True,
)  # fmt: skip

STEP = np.dtype(
    [
        ("offset", "f8"),
        ("fund", "i8"),
        ("fund_in", "i8"),
        ("fund_out", "i8"),
        ("deposits", "i8"),  #: of ``fund_in``
        ("inventory", "i8"),  #: the fund's result of inventory sold
        ("triggered", "i8", (2,)),  #: notional by side of position, at the mark
        ("executed", "i8", (2,)),  #: in the book
        ("taken_over", "i8", (2,)),
        ("deleveraged", "i8", (2,)),
        ("first_wave", "i8"),
        ("waves", "i4"),
        ("capped", "i4"),  #: waves or offset cut short
        ("runaway", "i4"),
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
