"""Charts of replays of books that are not given: shares in place of money, on axes with round ones."""

from __future__ import annotations

import polars as pl
import pytest
from chart_cases import WORLDS
from matplotlib.backends.backend_agg import FigureCanvasAgg
from text_boxes import problems, shown_texts

from backtest.amounts import Share, amount, currency_name, one
from backtest.chart.venues import fund_figure, moved_mark_figure, waterfall_figure
from backtest.study.fund import fund_flow, who_bore

WORLD = WORLDS["usual"]
OPENED = Share(float(WORLD.replayed.outcomes["entry_notional"].sum()), "the notional opened")


def test_shares__are_written_in_the_place_of_money() -> None:
    share = Share(200.0, "all losses")
    assert amount(3.0, share) == "1.5 %"
    assert amount(0.0, share) == "0"
    assert currency_name(share) == "% of all losses"
    assert (one(share), one("USDT")) == (200.0, 1.0)


@pytest.mark.parametrize("size", ["screen", "portrait"])
def test_charts_of_replays__write_no_money_for_shares(size: str) -> None:
    found = WORLD.replayed
    lost = who_bore(found)
    whole = Share(float(lost["amount"].clip(lower_bound=0.0).sum()), "all losses")
    for figure in (
        fund_figure(found.fund, fund_flow(found.fund), WORLD.window, title="A", currency=OPENED, size=size),
        waterfall_figure(lost, title="A", currency=whole, size=size),
        moved_mark_figure(WORLD.prices, found.impact, WORLD.window, title="A", currency=OPENED, size=size),
    ):
        FigureCanvasAgg(figure).draw()
        words = shown_texts(figure)
        assert not [text for text in words if "$" in text]
        assert [text for text in words if text.endswith(" %")]
        assert problems(figure) == []


def test_tiny_shares__have_labels_that_fit_beside_their_axis() -> None:
    found = WORLD.replayed
    flow = fund_flow(found.fund).with_columns(paid_in=pl.col("paid_in") * 1e-9, paid_out=pl.lit(1e-8))
    figure = fund_figure(found.fund, flow, WORLD.window, title="A", currency=OPENED)
    assert problems(figure) == []


def test_ticks_of_shares__are_round_shares() -> None:
    found = WORLD.replayed
    figure = fund_figure(found.fund, fund_flow(found.fund), WORLD.window, title="A", currency=OPENED)
    low, high = figure.axes[-1].get_ylim()
    path = next(ax for ax in figure.axes if ax.get_title(loc="left").startswith("Insurance fund"))
    low, high = path.get_ylim()
    shares = [100 * tick / OPENED.whole for tick in path.get_yticks() if low < tick < high]
    assert len(shares) >= 2
    assert all(f"{share:.2g}" == f"{share:.10g}" for share in shares)
