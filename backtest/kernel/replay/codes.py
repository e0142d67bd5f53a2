"""Codes of the replay that are no settings: states of a position, ledger accounts, no event."""

from __future__ import annotations

#: Where a position is.
WAITING, HELD, CHOSEN, LOCKED, DONE = range(5)

#: No event of a position in a bar; otherwise an ``OutcomeCode``.
NO_EVENT = 255

#: Accounts of the ledger.
LEDGER = ("traders", "market", "fund", "fees", "backstop", "deficit", "owners")
TRADERS, MARKET, FUND, FEES, BACKSTOP, DEFICIT, OWNERS = range(len(LEDGER))
