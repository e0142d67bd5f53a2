"""What a venue does with an account in cross margin: whose profit is margin, and what follows the trigger."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from backtest.kernel.choices import Profit
from backtest.rules.problems import Problems
from backtest.schemas.arguments import spelled
from backtest.shown import shown

#: What may follow the trigger, in the order a venue lists it. After each step the account is looked at again.
STEPS = (
    "cancel_orders",  # margin held back for open orders is freed
    "convert_collateral",  # collateral in other coins is sold for the settlement currency, debts are repaid
    "self_trade",  # longs and shorts of one symbol are closed against one another at the mark
    "step_down_tiers",  # parts above a tier's floor are taken over at the bankruptcy price, tier by tier
    "reduce",  # orders in the book close equal parts, round by round
    "take_over",  # what is left is taken over at the bankruptcy price
    "close",  # what is left is closed in the book
)
CHOICES = {
    "profit": Profit.names(),
    "hedged": ("tested", "spared"),
    "order": ("all", "triggered", "largest_loss", "largest_notional"),
    "restored_above": ("maintenance", "initial"),
}
FRACTIONS = ("conversion_cost", "self_trade_fee", "slippage")


@spelled
@dataclass(frozen=True, kw_only=True)
@shown()
class Cross:
    """A venue's rules for accounts in cross margin."""

    profit: Literal["usable", "unusable", "own"] = "usable"  #: whose unrealised profit is margin
    hedged: Literal["tested", "spared"] = "tested"  #: accounts with long = short in every symbol
    steps: tuple[str, ...] = ("close",)  #: what follows the trigger; the last leaves nothing of what it is given
    order: Literal["all", "triggered", "largest_loss", "largest_notional"] = "all"  #: which position goes first
    restored_above: Literal["maintenance", "initial"] = "maintenance"  #: margin an account is given back above
    rounds: int = 50  #: of ``reduce``, each closing one part in so many
    slippage: float = 0.0  #: of closing in the book, a fraction of the mark
    conversion_cost: float = 0.0  #: a fraction of the value converted
    self_trade_fee: float = 0.0  #: a fraction of the notional of each side

    def __post_init__(self) -> None:
        """Refuse unknown choices and steps that leave positions over."""
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
            problems.add("steps", "the last must be take_over or close, which leave nothing of a position")
        problems.raise_if_any("cross margin")
