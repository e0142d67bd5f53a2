"""Index of open positions: by symbol and side, and within that, once ADL is common, by similarity.

A cell is a doubly linked list. A symbol and side has one for all of its positions and, where the rank in
deleveraging allows it, a grid of them by entry price and by what else the rank depends on. A cell of the grid
knows the extremes of what its positions have, so that a bound of every score in it follows for any mark and
funding; extremes only widen, until the cell is looked through. Edges are quantiles, taken anew when as many
positions have come as there were.
"""

from __future__ import annotations

import numpy as np

from backtest.kernel.choices import AdlRank, ContractKind
from backtest.kernel.compile import helper, part
from backtest.kernel.margin.position import Segment
from backtest.kernel.replay import trigger_queues
from backtest.kernel.replay.records import Records
from backtest.kernel.replay.state import World, terms, value, whole
from backtest.kernel.types import Floats

#: Positions whose order of entry prices, and of the other dimension, decides the edges.
SAMPLE = 1_024


@helper
def link(cells: Records, book: Records, i: int, cell: int) -> None:
    """Put a position in front of a cell."""
    after = cells[cell]["head"]
    book[i]["cell"] = cell
    book[i]["next_member"] = after
    book[i]["previous_member"] = -1
    if after >= 0:
        book[after]["previous_member"] = i
    cells[cell]["head"] = i
    cells[cell]["count"] += 1


@helper
def unlink(cells: Records, book: Records, i: int) -> None:
    """Take a position out of its cell."""
    cell, before, after = book[i]["cell"], book[i]["previous_member"], book[i]["next_member"]
    if before >= 0:
        book[before]["next_member"] = after
    else:
        cells[cell]["head"] = after
    if after >= 0:
        book[after]["previous_member"] = before
    cells[cell]["count"] -= 1


@helper
def end_of(w: World, y: int, side: int) -> int:
    """Return the cell after the last one that may hold positions of a symbol and side."""
    first = w.symbols[y]["cells"][side]
    return (
        first
        + 1
        + (w.settings[0]["cell_rows"] * w.settings[0]["cell_columns"] if w.symbols[y]["indexed"][side] else 0)
    )


@helper
def shuffled(identity: int, seed: int) -> float:
    """Return a number between 0 and 1 that a position's id and a seed decide."""
    mixed = (identity * 2654435761 + seed * 40503 + 12345) & 0x7FFFFFFF
    mixed = ((mixed ^ (mixed >> 15)) * 73244475) & 0x7FFFFFFF
    mixed = ((mixed ^ (mixed >> 14)) * 73244475) & 0x7FFFFFFF
    return (mixed ^ (mixed >> 15)) / 2147483648.0


@helper
def own_of(w: World, i: int, held: Segment) -> float:
    """Return what of a position bounds a score by itself: the lot drawn, or the quantity."""
    if w.settings[0]["adl_rank"] == AdlRank.RANDOM:
        return shuffled(w.book[i]["id"], w.settings[0]["seed"])
    return held.quantity


@helper
def debt_of(held: Segment) -> float:
    """Return side times the value at which a position's equity is zero, before any funding."""
    return held.side * (value(held.kind, held.entry_price) - held.entry_funding) - held.margin / held.quantity


@helper
def other_key(w: World, i: int, held: Segment, now: float) -> float:
    """Return the second dimension of the grid: what the rank depends on, or the margin left a unit of value."""
    rank = w.settings[0]["adl_rank"]
    if rank in (AdlRank.SIZE, AdlRank.TOP_TEN, AdlRank.RANDOM):
        return own_of(w, i, held)
    left = held.margin / held.quantity - held.side * (now - held.entry_funding)
    return left * held.entry_price if held.kind == ContractKind.INVERSE else left / held.entry_price


@helper
def below(edges: Floats, first: int, count: int, key: float) -> int:
    """Return how many of some edges are at most a key."""
    low, high = 0, count
    while low < high:
        middle = (low + high) >> 1
        if edges[first + middle] <= key:
            low = middle + 1
        else:
            high = middle
    return low


@helper
def empty(cells: Records, cell: int) -> None:
    """Forget the extremes of a cell."""
    cells[cell]["entry_low"], cells[cell]["entry_high"] = np.inf, -np.inf
    cells[cell]["debt_low"], cells[cell]["debt_high"] = np.inf, -np.inf
    cells[cell]["own_high"] = -np.inf


@part
def widen(w: World, cell: int, i: int, held: Segment) -> None:
    """Let the extremes of a cell include a position."""
    entry, debt = held.side * value(held.kind, held.entry_price), debt_of(held)
    found = w.cells[cell]
    found["entry_low"], found["entry_high"] = min(found["entry_low"], entry), max(found["entry_high"], entry)
    found["debt_low"], found["debt_high"] = min(found["debt_low"], debt), max(found["debt_high"], debt)
    found["own_high"] = max(found["own_high"], own_of(w, i, held))


@part
def relist(w: World, i: int, now: float) -> None:
    """Put a position of an indexed side into the cell of its present terms."""
    held = terms(w.groups, w.tiers, w.book, i)
    y, side = whole(held.symbol), whole(w.book[i]["side"])
    rows, columns = w.settings[0]["cell_rows"], w.settings[0]["cell_columns"]
    first = (2 * y + side) * (rows + columns)
    entry = held.side * value(held.kind, held.entry_price)
    row = below(w.edges, first, rows - 1, entry)
    column = below(w.edges, first + rows, columns - 1, other_key(w, i, held, now))
    unlink(w.cells, w.book, i)
    cell = w.symbols[y]["cells"][side] + 1 + row * columns + column
    link(w.cells, w.book, i, cell)
    widen(w, cell, i, held)
    w.symbols[y]["placed"][side] += 1


@helper
def set_edges(w: World, first: int, count: int, size: int) -> None:
    """Write down edges between equal shares of the sample in the ranking."""
    trigger_queues.in_order(w.ranking, size)
    for number in range(count):
        w.edges[first + number] = w.ranking[size - 1 - ((number + 1) * size) // (count + 1)]["key"]


@part
def spread(w: World, y: int, side: int, now: float) -> None:
    """Spread the positions of a side over a grid of cells whose edges are quantiles of them."""
    loose, end = w.symbols[y]["cells"][side], end_of(w, y, side)
    for cell in range(loose + 1, end):
        while w.cells[cell]["head"] >= 0:
            i = whole(w.cells[cell]["head"])
            unlink(w.cells, w.book, i)
            link(w.cells, w.book, i, loose)
    rows, columns = w.settings[0]["cell_rows"], w.settings[0]["cell_columns"]
    first = (2 * y + side) * (rows + columns)
    step = w.symbols[y]["members"][side] // SAMPLE + 1
    for dimension in range(2):
        number, size = 0, 0
        i = whole(w.cells[loose]["head"])
        while i >= 0:
            if number % step == 0:
                held = terms(w.groups, w.tiers, w.book, i)
                entry = held.side * value(held.kind, held.entry_price)
                w.ranking[size]["key"] = entry if dimension == 0 else other_key(w, i, held, now)
                w.ranking[size]["id"] = w.book[i]["id"]
                size += 1
            number += 1
            i = whole(w.book[i]["next_member"])
        if dimension == 0:
            set_edges(w, first, rows - 1, size)
        else:
            set_edges(w, first + rows, columns - 1, size)
    w.symbols[y]["indexed"][side] = 1
    for cell in range(loose + 1, end_of(w, y, side)):
        empty(w.cells, cell)
    i = whole(w.cells[loose]["head"])
    while i >= 0:
        following = whole(w.book[i]["next_member"])
        relist(w, i, now)
        i = following
    w.symbols[y]["placed"][side] = 0
