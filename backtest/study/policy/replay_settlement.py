"""Settlement by replay: the second settlement of :mod:`~backtest.study.policy.settlement`, on the replay engine.

Under terms a book is stepped through its market in time order by a procedure's own rules: orders with their
rounds, capacity and impact, takeovers, fees, remainders, a fund, deleveraging, clawback (``docs/replay.md``). A
procedure is given as changes of the run's venue: ``procedure`` (a
:class:`~backtest.rules.procedure.Procedure`) or single settings of one, ``remainder``, ``takeover_price``,
``takeover_discount``; :func:`procedure_of` gives a venue's. Margin rules, tiers and triggers stay those of the
run, so that procedures are compared on the same triggers.

``returned`` and ``to_fund`` are the procedures of :class:`~backtest.study.policy.settlement.FundPath`, without
coupling. Their amounts agree with its to a rounding per position, with one exception: a bar's liquidations come
one after another here, so a bar that empties the fund and also pays into it may leave a larger deficit.

The mark is the history's, however much is sold: the history already holds its own cascade.

An amount that means the same under both settlements has the same name. Only a replay has:

- ``begun`` positions whose liquidation began, ``released`` those not fully closed, ``closed_notional``;
- ``adl_notional`` that counterparties had to close and ``given_up``, their profit at the mark of the bar's worst
  price less what they got (gains are not set off); ``clawed_back``; ``backstop``, the backstop's own result.

``adl`` is given up + clawed back + uncovered deficit; ``shortfall`` adds the payments of the fund. Losses of a
backstop are in neither. A fee of None is the procedure's own; a given one replaces its liquidation fee.
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
from backtest.study.policy.grid import BRACKET
from backtest.study.policy.settlement import PROCEDURES, Run, Settled, Terms, require_procedures

#: Positions are fully closed at once in the order book, without ADL.
WHOLE = Procedure(step="all", last="market", adl_trigger="never")

UNCOUPLED: Mapping[str, Mapping[str, Any]] = {
    name: {"procedure": WHOLE, "remainder": "fund" if name == "to_fund" else "returned"} for name in PROCEDURES
}


@checked
def procedure_of(venue: Venue) -> dict[str, Any]:
    """Return a venue's liquidation procedure, as changes of another venue's rules.

    Examples
    --------
    >>> from backtest.study import policy
    >>> list(policy.procedure_of(venue))
    ['procedure', 'remainder', 'takeover_price', 'takeover_discount']
    """
    names = ("procedure", "remainder", "takeover_price", "takeover_discount")
    return {name: getattr(venue, name) for name in names}


@dataclass(frozen=True, eq=False)
class Replayed:
    """The settlement by replay; :mod:`~backtest.study.policy.replay_settlement` defines it.

    Examples
    --------
    >>> from backtest.study import policy
    >>> policy.Replayed({"binance": policy.procedure_of(venue)}).procedures
    ('returned', 'to_fund', 'binance')
    """

    named: Mapping[str, Mapping[str, Any]] = field(
        default_factory=dict
    )  #: procedures, as ``Venue.with_`` takes them
    impact: Impact = field(default_factory=Impact)

    def __post_init__(self) -> None:
        """Refuse names already taken, and impact that would count a cascade twice."""
        taken = [name for name in self.named if name in UNCOUPLED]
        if taken:
            raise ArgumentError(f"procedure {taken[0]!r} belongs to every settlement and cannot be redefined")
        if self.impact.mark > 0:
            raise ArgumentError(
                "must be zero here: the history already holds its own cascade; to compare policies with a moving "
                "mark, use study.policy.counterfactual",
                argument="impact.mark",
            )

    @property
    def procedures(self) -> tuple[str, ...]:
        """The procedures that terms may name."""
        return (*UNCOUPLED, *self.named)

    @property
    def fills(self) -> tuple[str, ...]:
        """The fills of a grid that it can settle."""
        return BRACKET

    @property
    def label(self) -> str:
        """Assumptions and limits of the amounts."""
        limit = f"at most {100 * self.impact.participation:g} % of a bar's volume"
        impact = [f"{name.replace('_', '-')} impact {getattr(self.impact, name):g}"
                  for name in ("linear", "square_root") if getattr(self.impact, name) > 0]  # fmt: skip
        terms = [limit if self.impact.participation < float("inf") else "no limit on volume"]
        terms += impact or ["no impact on fills"]
        return f"replay, liquidation by liquidation in time order ({', '.join(terms)}; the mark does not move)"

    def rules(self, run: Run, terms: Terms) -> Venue:
        """Return the run's venue under the procedure and the fee of some terms."""
        venue = run.venue.with_(**{**UNCOUPLED, **self.named}[terms.procedure])
        fee = terms.liquidation_fee
        return venue if fee is None else venue.with_(liquidation_fee_rate=fee)

    def settle_each(self, run: Run, terms: Sequence[Terms]) -> list[Settled]:
        """Return the result of a run under each of the terms; those that differ only in the fund share replays.

        Replays of different procedures and fees run side by side on ``run.threads`` threads.
        """
        require_procedures(self, terms)
        stage = Stage.of(run.book, run.market, run.venue, run.conventions, run.threads)
        alike: dict[Terms, list[float]] = {}
        for each in terms:
            alike.setdefault(replace(each, fund=0.0), []).append(each.fund)
        with ThreadPoolExecutor(run.threads or cpu_count() or 1) as pool:
            paths = pool.map(lambda pair: self._by_fund(stage, run, *pair), alike.items())
            found = {each: settled for path in paths for each, settled in path.items()}
        return [found[each] for each in terms]

    def _by_fund(self, stage: Stage, run: Run, terms: Terms, funds: Sequence[float]) -> dict[Terms, Settled]:
        """Return the result of a run under each of the funds.

        A fund that always held enough did not change the replay: with a larger one everything is the same but for
        the difference. (Not where ADL is triggered by the fund's drop, which is relative to its size.) No ADL and
        no deficit are not enough to conclude this: what the fund could not afford and no counterparty could take
        is sold later, or kept.
        """
        venue = self.rules(run, terms)
        found: dict[Terms, Settled] = {}
        enough: tuple[float, Sums] | None = None
        for fund in sorted(set(funds)):
            options = Options(fund=fund, impact=self.impact, conventions=run.conventions)
            more = 0.0 if enough is None else fund - enough[0]
            sums = play(stage, venue, options) if enough is None else enough[1]
            if enough is None and not sums.lacked and venue.procedure.adl_trigger != "fund_drop":
                enough = fund, sums
            found[replace(terms, fund=fund)] = _settled(sums, more)
        return found


def _settled(sums: Sums, more: float) -> Settled:
    """Return the sums of a replay as a settlement names them, with ``more`` in the fund throughout."""
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
        begun_fees=sums.fees_of_begun,
        released=float(sums.released),
        closed_notional=sums.closed_notional,
        adl_notional=sums.adl_notional,
        given_up=sums.given_up,
        clawed_back=sums.clawed_back,
        backstop=sums.backstop,
    )
