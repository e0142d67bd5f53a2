"""Cross-margin rules of a venue: which unrealised profit is margin, and the steps of an account's liquidation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from backtest.kernel.choices import Profit
from backtest.rules.problems import Problems
from backtest.schemas.arguments import spelled
from backtest.shown import shown

#: Liquidation steps. A venue lists them in its order; after each step the account is tested again.
STEPS = (
    "cancel_orders",  # open orders are cancelled and their margin is freed
    "convert_collateral",  # collateral in other coins is sold for the settlement currency, debts are repaid
    "self_trade",  # longs and shorts of one symbol are closed against one another at the mark
    "step_down_tiers",  # parts above a tier's floor are taken over at the bankruptcy price, tier by tier
    "reduce",  # orders in the book close equal parts, round by round
    "take_over",  # the remaining quantity is taken over at the bankruptcy price
    "close",  # the remaining quantity is closed in the book
)
#: Steps that apply to the positions that ``order`` says; the others apply to the whole account.
OF_POSITIONS = frozenset(("step_down_tiers", "reduce", "take_over", "close"))
CHOICES = {
    "profit": Profit.names(),
    "hedged": ("liquidatable", "exempt"),
    "order": ("all", "triggered", "largest_loss", "largest_notional"),
    "restored_above": ("maintenance", "initial"),
    "equity_shared_by": ("notional", "maintenance"),
}
FRACTIONS = ("conversion_cost", "self_trade_fee", "slippage")


@spelled
@dataclass(frozen=True, kw_only=True)
@shown()
class Cross:
    """A venue's rules for accounts in cross margin.

    Examples
    --------
    >>> from backtest.rules import Cross
    >>> Cross(steps=("reduce", "take_over"), rounds=20).restored_above
    'maintenance'
    """

    profit: Literal["shared", "excluded", "per_position"] = "shared"  #: whose unrealised profit is margin
    hedged: Literal["liquidatable", "exempt"] = "liquidatable"  #: accounts with long = short in every symbol
    steps: tuple[str, ...] = ("close",)  #: liquidation steps; the last must close everything
    order: Literal["all", "triggered", "largest_loss", "largest_notional"] = "all"  #: position closed first
    restored_above: Literal["maintenance", "initial"] = "maintenance"  #: margin above which liquidation stops
    #: what positions taken over together share the account's equity by
    equity_shared_by: Literal["notional", "maintenance"] = "notional"
    rounds: int = 50  #: rounds of ``reduce``; each closes 1 / rounds
    slippage: float = 0.0  #: cost of closing in the book, fraction of the mark
    conversion_cost: float = 0.0  #: fraction of the value converted
    self_trade_fee: float = 0.0  #: fraction of the notional of each side

    def __post_init__(self) -> None:
        """Refuse unknown choices, and steps that leave positions open."""
        problems = Problems()
        problems.require_kinds(self)
        problems.raise_if_any("cross margin")
        for name, choices in CHOICES.items():
            problems.require_choice(name, getattr(self, name), choices)
        for name in FRACTIONS:
            if not 0 <= getattr(self, name) < 1:
                problems.add(name, f"must lie between 0 and 1, is {getattr(self, name)}")
        if self.rounds < 1:
            problems.add("rounds", f"must be a whole number of at least 1, is {self.rounds!r}")
        unknown = [step for step in self.steps if step not in STEPS]
        if unknown:
            problems.add("steps", f"there is no step {unknown[0]!r}: there are {', '.join(STEPS)}")
        elif not self.steps or self.steps[-1] not in ("take_over", "close"):
            problems.add("steps", "the last must be take_over or close, which close a position fully")
        problems.raise_if_any("cross margin")
