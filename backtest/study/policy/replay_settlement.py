"""Who pays, replayed: the second settlement of :mod:`~backtest.study.policy.settlement`, on the replay engine.

Under terms a book is stepped through its market in time order by a procedure's own rules: orders with their
rounds, capacity and impact, takeovers, fees, remainders, a fund, deleveraging, clawback (``docs/replay.md``). A
procedure is told by what it changes of the run's venue: ``procedure`` (a
:class:`~backtest.rules.procedure.Procedure`) or single settings of one, ``remainder``, ``takeover_price``,
``takeover_discount``; :func:`procedure_of` gives a venue's. Margin rules, tiers and triggers stay those of the
run, so that procedures are compared on the same triggers.

``returned`` and ``to_fund`` are what :class:`~backtest.study.policy.settlement.FundPath` settles, nothing
coupled. Their
amounts agree with its to a rounding a position, but that a bar's liquidations come one after another here: where
the fund runs dry in a bar that also brings it something, what it cannot pay may be more.

The mark is the history's, whatever is sold: it holds a cascade of its own already.

An amount that means the same under both settlements has the same name. What only a replay knows:

- ``begun`` positions whose liquidation began, ``released`` those it did not close, ``closed_notional`` what it
  closed;
- ``adl_notional`` that counterparties had to close and ``given_up``, their profit at the mark of the bar's worst
  price less what they got (gains are not set off); ``clawed_back``; ``backstop``, the backstop's own result.

``adl`` is given up + clawed back + paid by nobody; ``shortfall`` is that and what the fund paid. What a backstop
bears is in neither. A fee of None is the procedure's own; one that is given replaces its liquidation fee.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from os import cpu_count
from typing import Any

from backtest.engine.replay.arguments import Options
from backtest.engine.replay.session import Stage
from backtest.engine.replay.totals import Sums, play
from backtest.errors import ArgumentError
from backtest.rules.procedure import Impact, Procedure
from backtest.rules.venue import Venue
from backtest.schemas.arguments import checked
from backtest.study.policy.settlement import PROCEDURES, Run, Settled, Terms, require_procedures

#: Positions are closed whole and at once in the book; nobody is deleveraged.
WHOLE = Procedure(step="all", last="market", adl_trigger="never")

UNCOUPLED: Mapping[str, Mapping[str, Any]] = {
    name: {"procedure": WHOLE, "remainder": "fund" if name == "to_fund" else "returned"} for name in PROCEDURES
}


@checked
def procedure_of(venue: Venue) -> dict[str, Any]:
    """Return what a venue does with liquidated positions, as changes of another venue's rules."""
    names = ("procedure", "remainder", "takeover_price", "takeover_discount")
    return {name: getattr(venue, name) for name in names}


@dataclass(frozen=True, eq=False)
class Replayed:
    """The settlement of the module's docstring."""

    named: Mapping[str, Mapping[str, Any]] = field(
        default_factory=dict
    )  #: procedures, as ``Venue.with_`` takes them
    impact: Impact = field(default_factory=Impact)

    def __post_init__(self) -> None:
        """Refuse names that mean something else, and what would count a cascade twice."""
        taken = [name for name in self.named if name in UNCOUPLED]
        if taken:
            raise ArgumentError(f"procedure {taken[0]!r} is one of every settlement, and cannot be another")
        if self.impact.mark > 0:
            raise ArgumentError(
                "impact.mark moves a history that holds its own cascade already, so policies are not compared "
                "with it: see study.counterfactual"
            )

    @property
    def procedures(self) -> tuple[str, ...]:
        """The procedures that terms may name."""
        return (*UNCOUPLED, *self.named)

    @property
    def label(self) -> str:
        """What the amounts rest on and leave out."""
        limit = f"at most {100 * self.impact.participation:g} % of a bar's volume"
        impact = [f"{name.replace('_', '-')} impact {getattr(self.impact, name):g}"
                  for name in ("linear", "square_root") if getattr(self.impact, name) > 0]  # fmt: skip
        told = [limit if self.impact.participation < float("inf") else "no limit on volume"]
        told += impact or ["no impact on fills"]
        return f"replay, liquidation by liquidation in time order ({', '.join(told)}; the mark does not move)"

    def rules(self, run: Run, terms: Terms) -> Venue:
        """Return the run's venue under the procedure and the fee of some terms."""
        venue = run.venue.with_(**{**UNCOUPLED, **self.named}[terms.procedure])
        fee = terms.liquidation_fee
        return venue if fee is None else venue.with_(liquidation_fee_rate=fee)

    def settle_each(self, run: Run, terms: Sequence[Terms]) -> list[Settled]:
        """Return what each of some terms makes of a run; those that differ in the fund alone share what they can.

        Replays of different procedures and fees run side by side on ``run.threads`` threads.
        """
        require_procedures(self, terms)
        stage = Stage.of(
            run.book, run.market, run.venue, fill_price=run.fill_price, tiers=run.tiers, threads=run.threads
        )
        alike: dict[Terms, list[float]] = {}
        for each in terms:
            alike.setdefault(replace(each, fund=0.0), []).append(each.fund)
        with ThreadPoolExecutor(run.threads or cpu_count() or 1) as pool:
            paths = pool.map(lambda pair: self._by_fund(stage, run, *pair), alike.items())
            found = {each: settled for path in paths for each, settled in path.items()}
        return [found[each] for each in terms]

    def _by_fund(self, stage: Stage, run: Run, terms: Terms, funds: Sequence[float]) -> dict[Terms, Settled]:
        """Return what each of some funds makes of a run.

        A fund that was never asked for more than it held cannot have changed what happened: with a larger one all
        is the same but for the difference. (Not where deleveraging watches the fund's fall, which is relative to
        it.) That nobody was deleveraged or left unpaid is not enough: where nobody could take what the fund had no
        money for, it is sold later, or kept.
        """
        venue = self.rules(run, terms)
        found: dict[Terms, Settled] = {}
        enough: tuple[float, Sums] | None = None
        for fund in sorted(set(funds)):
            options = Options(
                fund, (), self.impact, run.fill_price, "pessimistic", "untested", run.stop_trigger, 0, -1
            )
            more = 0.0 if enough is None else fund - enough[0]
            sums = play(stage, venue, options) if enough is None else enough[1]
            if enough is None and not sums.lacked and venue.procedure.adl_trigger != "fund_drop":
                enough = fund, sums
            found[replace(terms, fund=fund)] = _settled(sums, more)
        return found


def _settled(sums: Sums, more: float) -> Settled:
    """Return the sums of a replay as a settlement names them, with so much more in the fund all along."""
    adl = sums.given_up + sums.clawed_back + sums.deficit
    lost = sums.results + sums.clawed_from_begun - sums.fees_of_begun
    return Settled(
        traders_losses=-lost + 0.0,
        returned=sums.margins + sums.results - sums.fees_of_begun,
        fees=sums.fees,
        kept=sums.paid_in - sums.fees_to_fund,
        shortfall=sums.paid_out + adl,
        fund_lowest=sums.fund_lowest + more,
        fund_end=sums.fund_end + more,
        adl=adl,
        first_adl=sums.first_unpaid,
        deficit=sums.deficit,
        begun=float(sums.begun),
        released=float(sums.released),
        closed_notional=sums.closed_notional,
        adl_notional=sums.adl_notional,
        given_up=sums.given_up,
        clawed_back=sums.clawed_back,
        backstop=sums.backstop,
    )
