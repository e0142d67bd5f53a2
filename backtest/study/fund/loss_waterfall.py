"""Who bore the loss: the waterfall of a replay as a table."""

from __future__ import annotations

import polars as pl

from backtest.engine.replay.replay import Replay


def who_bore(found: Replay) -> pl.DataFrame:
    """Return who bore the losses of liquidated positions, in the order of the waterfall.

    Returns
    -------
    ``bearer, amount`` (settlement currency, a loss positive, a gain negative): the holders' own margins (what they
    lost but for fees and for what others' shortfalls took from them), the fund (with the fees that go to it), the
    backstop, counterparties that were deleveraged (profit given up at the mark), profits that were clawed back,
    and what nobody covered.
    """
    liquidated = found.outcomes.filter(pl.col("liquidated"))
    cash = {row["account"]: row["total"] / found.unit for row in found.ledger.iter_rows(named=True)}
    started = -cash["owners"]
    rows = {
        "margins": -float((liquidated["realised_pnl"] + liquidated["clawed_back"]).sum()),
        "fund": started - cash["fund"],
        "backstop": -cash["backstop"],
        "counterparties": float(found.adl["given_up"].sum()),
        "clawback": float(found.outcomes["clawed_back"].sum()),
        "nobody": -cash["deficit"],
    }
    return pl.DataFrame({"bearer": list(rows), "amount": [amount + 0.0 for amount in rows.values()]})
