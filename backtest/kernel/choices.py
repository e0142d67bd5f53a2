"""Choices that settings, files and kernels share: each has one name and one code, both written here only.

In settings, files and columns a choice is its name in lower case; kernels compare with the member itself, which
the compiler takes as a constant. Importing this imports no compiler.
"""

from __future__ import annotations

from enum import IntEnum


class Choice(IntEnum):
    """A choice among a few; its members are in the order of their codes."""

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Return the names of the choices in settings and files."""
        return tuple(member.name.lower() for member in cls)

    @classmethod
    def code(cls, name: str) -> int:
        """Return the code of a name, as kernels take it."""
        return int(cls[name.upper()])


class ContractKind(Choice):
    """Payoff of a contract."""

    LINEAR = 0
    INVERSE = 1
    FACE_VALUE = 2


class KeyedBy(Choice):
    """Quantity that decides a position's tier."""

    MARGINAL = 0  #: the notional at the price: the highest line of all tiers
    NOTIONAL = 1  #: the notional at the entry
    CONTRACTS = 2
    LEVERAGE = 3  #: the selected one


class OutcomeCode(Choice):
    """Outcome of a position; a replay alone has the last two."""

    LIQUIDATED = 0
    STOPPED = 1
    TOOK_PROFIT = 2
    EXITED = 3
    OPEN = 4
    UNKNOWN = 5
    REJECTED = 6  #: its margin was below the maintenance margin at the entry: it was never opened
    REDUCED = 7
    DELEVERAGED = 8


class Intrabar(Choice):
    """Order of a bar's events on opposite sides of its open."""

    PESSIMISTIC = 0
    OPTIMISTIC = 1
    PATH = 2


class AccountPrices(Choice):
    """Prices of a bar that an account is valued at, from the choice that liquidates earliest to the last."""

    OWN_WORST = 0  #: each position at its own worst price
    JOINT_WORST = 1  #: all at the low, high or close that is worst for the account
    CLOSES = 2


class Profit(Choice):
    """Unrealised profit that is margin in an account."""

    SHARED = 0  #: of every position, for the whole account
    EXCLUDED = 1  #: no profit until it is settled
    PER_POSITION = 2  #: for the position that made it only


class FlowMode(Choice):
    """Order flow of a replay: not recorded, recorded, or following the flow of facts."""

    PLAIN = 0
    RECORDING = 1
    FOLLOWING = 2


class Step(Choice):
    """Quantity closed by an order of a procedure."""

    ALL = 0
    FRACTION = 1
    TIER = 2
    ENOUGH = 3


class Until(Choice):
    """Margin that equity must exceed for liquidation to stop."""

    MAINTENANCE = 0
    INITIAL = 1


class Slices(Choice):
    """Destination of a step's quantity."""

    MARKET = 0
    TAKEOVER = 1


class InLowest(Choice):
    """Rule for positions too small for steps: one order for all, or the last rule."""

    ORDER = 0
    LAST = 1


class OrderType(Choice):
    """Treatment of an order's unfilled quantity."""

    RESTING = 0
    IMMEDIATE_OR_CANCEL = 1
    FILL_OR_KILL = 2


class OrderLimit(Choice):
    """Worst price of an order."""

    NONE = 0
    BANKRUPTCY = 1


class Last(Choice):
    """Rule for the rest after the last round."""

    TAKEOVER = 0
    MARKET = 1


class Inventory(Choice):
    """Bearer of the result of positions taken over."""

    FUND = 0
    BACKSTOP = 1


class Unwind(Choice):
    """Sale of positions taken over."""

    AT_ONCE = 0
    SHARE = 1
    HOLD = 2


class AdlTrigger(Choice):
    """Event that starts ADL."""

    NEVER = 0
    FUND_EMPTY = 1
    FUND_DROP = 2


class AdlRank(Choice):
    """Ranking of ADL counterparties; ``kernel.replay.adl_ranking`` computes the scores."""

    PROFIT_LEVERAGE = 0
    BINANCE = 1
    BITMEX = 2
    SIZE = 3
    RANDOM = 4
    PRO_RATA = 5
    TOP_TEN = 6
    WATER_FILLING = 7


class AdlPrice(Choice):
    """Price of ADL."""

    BANKRUPTCY = 0
    MARK = 1
    TAKEOVER = 2


class Remainder(Choice):
    """Receiver of the remaining margin of a liquidated position."""

    RETURNED = 0
    FUND = 1
    SHARED = 2


class TakeoverPrice(Choice):
    """Price that the venue's engine or backstop pays."""

    BANKRUPTCY = 0
    BANKRUPTCY_WITH_FEE = 1
    BACKSTOP = 2


class WaveOrder(Choice):
    """Order of positions within a wave of liquidations."""

    PRICE = 0
    LARGEST = 1
    ID = 2
