"""A venue's liquidation procedure in one sentence."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from backtest.amounts import plain, plural
from backtest.rules.procedure import Procedure

REMAINDERS = {
    "returned": "the remaining margin returned",
    "fund": "the remaining margin to the fund",
    "shared": "the remaining margin to fund and backstop",
}
ORDERS = {
    "resting": "",
    "immediate_or_cancel": ", by immediate-or-cancel orders",
    "fill_or_kill": ", by fill-or-kill orders",
}

RANKS = {
    "profit_leverage": "the highest profit times leverage first",
    "binance": "ranked as at Binance",
    "bitmex": "ranked as at BitMEX",
    "size": "the largest first",
    "random": "in random order",
    "pro_rata": "all pro rata",
    "top_ten": "the ten largest at a time",
    "water_filling": "the most leveraged reduced first, to equal leverage",
}


def sentence(changes: Mapping[str, Any]) -> str:
    """Return a sentence on what a procedure does.

    Parameters
    ----------
    changes : ``procedure``, ``remainder``, optionally ``takeover_price`` and ``takeover_discount``
    """
    own: Procedure = changes["procedure"]
    parts = [_steps(own) + ORDERS[own.order_type], *_ends(own, _price(changes))]
    if own.liquidation_fee_rate:
        all_of_it = ", whatever equity remains" if own.liquidation_fee_beyond_margin else ""
        parts.append(f"a fee of {plain(100 * own.liquidation_fee_rate)} %{all_of_it}")
    parts += [REMAINDERS[changes["remainder"]], _deleveraging(own)]
    return "; ".join(parts + (["clawback"] if own.clawback else []))


def _steps(own: Procedure) -> str:
    if own.step == "all":
        return "fully closed"
    tiers = "one tier" if own.tier_step == 1 else f"{own.tier_step} tiers"
    steps = {
        "fraction": f"closed by {plain(100 * own.step_fraction)} % of the position at a time",
        "tier": f"closed down {tiers} at a time",
        "enough": "closed by as much as is enough",
    }[own.step]
    from_ = f" from a size of {own.partial_from:,.0f} on" if own.partial_from else ""
    return f"{steps}{from_}{', each step taken over' if own.slices == 'takeover' else ''}"


def _ends(own: Procedure, price: str) -> Iterator[str]:
    """Yield when and how a procedure ends."""
    if own.step != "all":
        yield "until equity exceeds the initial margin" if own.until == "initial" else "until it is healthy"
    last = f"taken over at {price}" if own.last == "takeover" else "sold at any price"
    if own.rounds:
        yield f"after {plural(own.rounds, 'order')} {last}"
    if own.step == "tier" and own.in_lowest == "last":
        yield f"in the lowest tier{'' if own.whole_tiers == 1 else 's'} {last}"
    if own.order_limit == "bankruptcy":
        yield "no order beyond the bankruptcy price"
    if own.takeover_below:
        yield f"taken over below {plain(100 * own.takeover_below, 3)} % of the maintenance margin"


def _price(changes: Mapping[str, Any]) -> str:
    """Return the price of a takeover."""
    rule = changes.get("takeover_price", "bankruptcy")
    if rule == "backstop":
        return f"{plain(100 * changes.get('takeover_discount', 0.0))} % below the mark"
    return "the bankruptcy price" + (" with a fee" if rule == "bankruptcy_with_fee" else "")


def _deleveraging(own: Procedure) -> str:
    if own.adl_trigger == "never":
        return "no auto-deleveraging"
    when = "when the fund is empty"
    if own.adl_trigger == "fund_drop":
        when = f"when the fund has fallen by {plain(100 * own.adl_drop)} % in {plain(own.adl_hours)} h"
    rank = RANKS.get(own.adl_rank, f"ranked by {own.adl_rank.replace('_', ' ')}")
    far = ""
    if own.adl_price == "bankruptcy" and math.isfinite(own.adl_mark_beyond):
        far = f", at the mark where that is more than {plain(100 * own.adl_mark_beyond)} % away"
    return f"auto-deleveraging {when}, {rank}, at the {own.adl_price} price{far}"
