"""How often a larger fund means more deleveraging: counted over random markets that jump once.

``python benchmarks/fund_law.py`` prints the table; ``--write`` puts it into ``benchmarks/README.md``.

The markets are those of ``tests/event_cases.py``: a jump liquidates one position or several of one side, beside
low-leveraged ones of both; procedures, ranks, prices of deleveraging, takeovers, impact and capacity are random.
Each is replayed with seven funds from nothing to twice the notional of the largest loser.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
from tables import Table, machine, write

sys.path.append(str(Path(__file__).parent.parent / "tests"))

from event_cases import FUNDS, begun, borne, breaches, orders, played, random_event

#: Positions liquidated, and whether at one bankruptcy price.
KINDS = ((1, False), (2, True), (2, False), (4, True), (4, False))

TRIGGERS = {"fund_empty": "once it is empty", "fund_drop": "once it has fallen"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--markets", type=int, default=500, help="of each kind")
    parser.add_argument("--write", action="store_true", help="put the table into benchmarks/README.md")
    options = parser.parse_args()
    where = machine()
    table = Table(
        "A larger fund and deleveraging",
        "positions liquidated", "counterparties are turned to", "markets", "more quantity deleveraged",
        "an earlier first", "more money left to others",
        about=(
            f"{options.markets:,} random markets of each kind that jump once, counted where ADL hits a position "
            "under any of seven funds. The columns count the markets in which some larger fund leaves more to "
            "others than the next smaller one. `docs/replay.md` says why."
        ),
    )  # fmt: skip
    for losers, alike in KINDS:
        count(table, losers, alike, options.markets)
    if options.write:
        write([table], where)


def count(table: Table, losers: int, alike: bool, markets: int) -> None:
    """Add the rows of one kind of market."""
    found: Counter[tuple[str, ...]] = Counter()
    for number in range(markets):
        event = random_event(np.random.default_rng([number, losers, alike]), losers, alike=alike)
        runs = [played(event, fund) for fund in FUNDS]
        left = [borne(run) for run in runs]
        if max(map(begun, runs)) > losers or not any(run.quantity > 0 for run in left):
            continue
        many = "by one order" if max(map(orders, runs)) <= 1 else "by several orders"
        kind = (event.venue.procedure.adl_trigger, many if losers == 1 else "")
        found[*kind, "markets"] += 1
        found.update({(*kind, breach) for pair in pairwise(left) for breach in breaches(*pair, event.scale)})
    price = "" if losers == 1 else ", one bankruptcy price" if alike else ", each at its own price"
    for trigger, words in TRIGGERS.items():
        for how in ("by one order", "by several orders") if losers == 1 else ("",):
            total = found[trigger, how, "markets"]
            cells = [f"{found[trigger, how, breach]}" for breach in ("more deleveraged", "earlier", "more money")]
            table.add(f"{losers}{price}{', ' + how if how else ''}", words, f"{total:,}", *cells)


if __name__ == "__main__":
    main()
