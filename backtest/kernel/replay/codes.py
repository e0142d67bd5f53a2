"""Codes of the replay: outcomes, accounts of the ledger, choices of a procedure."""

from __future__ import annotations

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

BY_ORDER, BY_LAST = range(2)

RESTING, OR_CANCEL, OR_KILL = range(3)

UNLIMITED, LIMITED = range(2)

THEN_TAKEOVER, THEN_MARKET = range(2)

OWNED_BY_FUND, OWNED_BY_BACKSTOP = range(2)

AT_ONCE, BY_SHARE, HOLD = range(3)

NEVER, FUND_EMPTY, FUND_DROP = range(3)

PROFIT_LEVERAGE, BINANCE, BITMEX, SIZE, RANDOM, PRO_RATA, TOP_TEN, WATER_FILLING = range(8)

AT_BANKRUPTCY, AT_MARK, AT_TAKEOVER = range(3)

RETURNED, TO_FUND, SHARED = range(3)

BANKRUPTCY, BANKRUPTCY_WITH_FEE, BACKSTOP_PRICE = range(3)

BY_PRICE, BY_LARGEST, BY_ID = range(3)

COUNTERS = 20
