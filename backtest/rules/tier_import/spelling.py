"""Names of contracts in files of tiers, as a venue's rules spell them."""

from __future__ import annotations

import re

from backtest.rules.venue import Venue, plain

#: KuCoin ends its symbols with the letter M.
KUCOIN = re.compile(r"([A-Z0-9]+(?:USDT|USDC|USD))M")
#: Symbols that are margined in the coin: the quote is the dollar itself.
INVERSE = re.compile(r"[A-Z0-9]+(?<!B)USD(_PERP)?")
SETTLED = re.compile(r"(?P<base>[^/]+)/(?P<quote>[^:]+):(?P<settle>[^-]+)")


class Spelling:
    """The symbols of a venue by what they are without separators."""

    def __init__(self, venue: Venue) -> None:
        self.venue = venue
        self._listed: dict[str, str] = {}
        for symbol in venue.contracts:
            self._listed.setdefault(plain(symbol), symbol)

    def of(self, symbol: str) -> str:
        """Return the venue's spelling of a symbol; of one it does not list the symbol without separators."""
        name = _without_ending(symbol)
        listed = self._listed.get(plain(name))
        if listed is not None:
            return listed
        return plain(name) if re.search(r"[-_/:]", name) else name

    def refusal(self, symbol: str) -> str:
        """Return why a symbol cannot be imported; empty where it can.

        Tiers of contracts that are margined in their coin need a contract of that kind, which only the venue's
        file can state.
        """
        if not is_inverse(symbol):
            return ""
        own = self.of(symbol)
        listed = own in self.venue.contracts and self.venue.contract(own).kind == "inverse"
        return "" if listed else "margined in the coin, which the venue's file does not list"


def is_inverse(symbol: str) -> bool:
    """Return whether a spelling is that of a contract margined in its coin."""
    named = SETTLED.match(symbol)
    if named:
        return named["base"] == named["settle"]
    return "/" not in symbol and INVERSE.fullmatch(_without_ending(symbol)) is not None


def _without_ending(symbol: str) -> str:
    found = KUCOIN.fullmatch(symbol)
    name = found[1] if found else symbol
    return re.sub(r"^XBT(?=USD)", "BTC", name) if found else name
