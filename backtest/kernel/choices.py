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
        """Return what the choices are called in settings and files."""
        return tuple(member.name.lower() for member in cls)

    @classmethod
    def code(cls, name: str) -> int:
        """Return the code of a name, as kernels are given it."""
        return int(cls[name.upper()])


class ContractKind(Choice):
    """How a contract pays."""

    LINEAR = 0
    INVERSE = 1
    FACE_VALUE = 2


class KeyedBy(Choice):
    """What decides the tiers a position's requirement is taken from."""

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
    REDUCED = 6
    DELEVERAGED = 7


class Intrabar(Choice):
    """What decides the order of a bar's events on opposite sides of its open."""

    PESSIMISTIC = 0
    OPTIMISTIC = 1
    PATH = 2


class AccountPrices(Choice):
    """Prices of a bar that an account is valued at, from the choice that liquidates earliest to the last."""

    OWN_WORST = 0  #: each position at its own worst price
    JOINT_WORST = 1  #: all at the low, high or close that is worst for the account
    CLOSES = 2


class Profit(Choice):
    """Whose unrealised profit is margin in an account."""

    USABLE = 0
    UNUSABLE = 1
    OWN = 2


class FlowMode(Choice):
    """What a replay does beside stepping: nothing, writing its flow down, following facts."""

    PLAIN = 0
    RECORDING = 1
    FOLLOWING = 2


class Step(Choice):
    """How much an order of a procedure closes."""

    ALL = 0
    FRACTION = 1
    TIER = 2
    ENOUGH = 3


class Until(Choice):
    """What equity must exceed for control to return."""

    MAINTENANCE = 0
    INITIAL = 1


class Slices(Choice):
    """Where a step's quantity goes."""

    MARKET = 0
    TAKEOVER = 1


class InLowest(Choice):
    """What happens to positions that no step leads down: one order for all, or the last rule."""

    ORDER = 0
    LAST = 1


class OrderType(Choice):
    """What an order leaves unfilled."""

    RESTING = 0
    IMMEDIATE_OR_CANCEL = 1
    FILL_OR_KILL = 2


class OrderLimit(Choice):
    """The worst price an order may get."""

    NONE = 0
    BANKRUPTCY = 1


class Last(Choice):
    """What happens to the rest after the last round."""

    TAKEOVER = 0
    MARKET = 1


class Inventory(Choice):
    """Who gains or loses on what was taken over."""

    FUND = 0
    BACKSTOP = 1


class Unwind(Choice):
    """How what was taken over is sold."""

    AT_ONCE = 0
    SHARE = 1
    HOLD = 2


class AdlTrigger(Choice):
    """When counterparties are deleveraged."""

    NEVER = 0
    FUND_EMPTY = 1
    FUND_DROP = 2


class AdlRank(Choice):
    """Which counterparties are deleveraged first; ``kernel.replay.adl_ranking`` scores them."""

    PROFIT_LEVERAGE = 0
    BINANCE = 1
    BITMEX = 2
    SIZE = 3
    RANDOM = 4
    PRO_RATA = 5
    TOP_TEN = 6
    WATER_FILLING = 7


class AdlPrice(Choice):
    """The price of a deleveraging."""

    BANKRUPTCY = 0
    MARK = 1
    TAKEOVER = 2


class Remainder(Choice):
    """Who gets the remaining margin of a liquidated position."""

    RETURNED = 0
    FUND = 1
    SHARED = 2


class TakeoverPrice(Choice):
    """What the venue's engine or backstop pays."""

    BANKRUPTCY = 0
    BANKRUPTCY_WITH_FEE = 1
    BACKSTOP = 2


class WaveOrder(Choice):
    """Who comes first in a wave of liquidations."""

    PRICE = 0
    LARGEST = 1
    ID = 2
