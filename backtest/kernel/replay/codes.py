"""Codes of the replay that no setting names: where a position is, whose money it is, that nothing happens."""

from __future__ import annotations

#: Where a position is.
WAITING, HELD, CHOSEN, LOCKED, DONE = range(5)

#: What happens to a position in a bar where nothing does; otherwise an ``OutcomeCode``.
NO_EVENT = 255

#: Accounts of the ledger.
LEDGER = ("traders", "market", "fund", "fees", "backstop", "deficit", "owners")
TRADERS, MARKET, FUND, FEES, BACKSTOP, DEFICIT, OWNERS = range(len(LEDGER))
