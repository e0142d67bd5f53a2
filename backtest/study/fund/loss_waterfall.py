"""Loss waterfall of a replay: margins, fund, backstop, counterparties, clawback, uncovered deficit."""

from __future__ import annotations

import polars as pl

from backtest.engine.replay.replay import Replay


def who_bore(found: Replay) -> pl.DataFrame:
    """Return the losses of liquidated positions by bearer, in the order of the waterfall.

    Returns
    -------
    ``bearer, amount`` (settlement currency, a loss positive, a gain negative): the holders' own margins (losses of
    the liquidated, and of who closed beyond the margin, without clawback for others' shortfalls), the fund, the
    backstop, counterparties hit by ADL (profit given up at the mark), clawed back profits, and ``nobody``: the
    uncovered deficit. All are without fees, so that they add up to what these positions lost in the market: what
    was passed on is valued at the pool's mark, what was taken over at its sale or at the last mark.

    Examples
    --------
    >>> from backtest.study import fund
    >>> fund.who_bore(strained).with_columns(pl.col("amount").round())
    shape: (6, 2)
    ┌────────────────┬──────────┐
    │ bearer         ┆ amount   │
    │ ---            ┆ ---      │
    │ str            ┆ f64      │
    ╞════════════════╪══════════╡
    │ margins        ┆ 129733.0 │
    │ fund           ┆ 11623.0  │
    │ backstop       ┆ 0.0      │
    │ counterparties ┆ 0.0      │
    │ clawback       ┆ 0.0      │
    │ nobody         ┆ 0.0      │
    └────────────────┴──────────┘
    """
    lost = found.outcomes.filter(pl.col("liquidated") | (pl.col("shortfall") > 0))
    cash = {row["account"]: row["total"] / found.unit for row in found.ledger.iter_rows(named=True)}
    fees_to_fund = float(found.outcomes["fees"].sum()) - cash["fees"]
    rows = {
        "margins": -float((lost["realised_pnl"] + lost["clawed_back"]).sum()),
        "fund": -cash["owners"] - (cash["fund"] - fees_to_fund),
        "backstop": -cash["backstop"],
        "counterparties": float(found.adl["given_up"].sum()),
        "clawback": float(found.outcomes["clawed_back"].sum()),
        "nobody": -cash["deficit"],
    }
    amounts = pl.Series([amount + 0.0 for amount in rows.values()], dtype=pl.Float64)
    return pl.DataFrame({"bearer": list(rows), "amount": amounts})
