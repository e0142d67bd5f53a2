"""Spellings of a perpetual contract, by a table of shapes: ``BTC/USDT:USDT``, ``BTC-USDT-SWAP``, ``BTC`` are one.

A spelling that no shape of the table covers stands for itself alone: it is never guessed at.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from backtest.rules.venue import Venue

QUOTES = ("USDT", "USDC", "FDUSD", "BUSD", "USD")

#: Other names of a coin.
COINS = {"XBT": "BTC"}


#: Spellings that a shape would take apart in the wrong place.
WHOLE = {"BNBUSD": ("BNB", "USD", True)}


class Pair(NamedTuple):
    """What a contract is on: ``quote`` is None where a spelling names the coin alone."""

    base: str
    quote: str | None
    inverse: bool


_QUOTE = f"(?P<quote>{'|'.join(QUOTES)})"
_BASE = r"(?P<base>[A-Z0-9]+?)"

#: Shapes of a spelling, in the order they are tried; ``inverse`` says whether it pays in the coin.
SHAPES = tuple(
    (re.compile(shape), inverse)
    for shape, inverse in (
        (rf"{_BASE}/{_QUOTE}:(?P=quote)", False),  # ccxt, freqtrade
        (rf"{_BASE}/{_QUOTE}:(?P=base)", True),
        (rf"{_BASE}-(?P<quote>USD)-SWAP", True),  # OKX
        (rf"{_BASE}-{_QUOTE}-SWAP", False),
        (rf"{_BASE}(?P<quote>USD)_PERP", True),  # Binance COIN-M
        (rf"{_BASE}-PERPETUAL", True),  # Deribit
        (rf"{_BASE}_{_QUOTE}-PERPETUAL", False),
        (rf"{_BASE}{_QUOTE}-PERP(?:\.[A-Z_]+)?", False),  # nautilus
        (rf"{_BASE}[-_/ ]?(?P<quote>USDT|USDC|FDUSD|BUSD)(?: ?PERP(?:ETUAL)?)?(?:\.[A-Z_]+)?", False),
        (rf"{_BASE}(?P<quote>USD)", True),  # BitMEX, Bybit inverse
        (rf"{_BASE}[-/](?P<quote>USD)", False),
        (r"(?P<base>[A-Z0-9]+)(?:-PERP)?", False),  # Hyperliquid: the coin alone
    )
)


def pair_of(spelling: str) -> Pair | None:
    """Return what a spelling stands for; None where no shape of the table covers it."""
    spelling = spelling.strip().upper()
    if spelling in WHOLE:
        return Pair(*WHOLE[spelling])
    for shape, inverse in SHAPES:
        found = shape.fullmatch(spelling)
        if found:
            named = found.groupdict()
            quote = named.get("quote") or ("USD" if inverse else None)
            return Pair(COINS.get(named["base"], named["base"]), quote, inverse)
    return None


def same(spelling: str, known: Iterable[str]) -> list[str]:
    """Return those of the known symbols that a spelling stands for: itself first, else all of its pair."""
    known = list(known)
    if spelling in known:
        return [spelling]
    pair = pair_of(spelling)
    return [] if pair is None else [other for other in known if _alike(pair, pair_of(other))]


def _alike(one: Pair, other: Pair | None) -> bool:
    if other is None or one.base != other.base or one.inverse != other.inverse:
        return False
    return one.quote == other.quote or None in (one.quote, other.quote)


def listed_as(symbol: str, venue: Venue) -> str | None:
    """Return how a venue's rules spell a symbol, of a coin alone the contract in the venue's usual currency.

    None where it has no rules for it.
    """
    found = same(symbol, venue.contracts)
    if found:
        usual = [name for name in found if venue.settlement_of(name) == venue.settlement]
        return (usual or found)[0]
    return symbol if venue.default is not None else None
