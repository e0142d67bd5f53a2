"""The public names: which they are, that none is hidden by a module, that listing them loads nothing."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType

import pytest

#: Every package and what it offers. A name that is a module of the package is that module.
OFFERED = {
    "backtest": (
        "Accounts Book Conventions Impact Market Procedure Venue account_prices book chart liquidate_accounts "
        "market population position_prices replay rules scale study sweep sweep_accounts tiers_used trades warm"
    ),
    "backtest.book": "Accounts Book load",
    "backtest.population": (
        "HIGH LOW MIXED NOTIONAL_MIX EstimatedBook LeverageMix MixBySide SideMix from_open_interest "
        "from_volume load_mix synthetic with_open_interest"
    ),
    "backtest.trades": (
        "AccountStates Check SOURCES Trades check prices_of read read_liquidations read_positions read_states "
        "to_book"
    ),
    "backtest.scale": "Cluster Executor Prices Processes Progress Result Serial sweep",
    "backtest.rules": (
        "Contract Cross Impact PositionPrices Procedure TierTable Venue import_tiers margin position_prices "
        "venue_files"
    ),
    "backtest.market": "Market load quality sample sources",
    "backtest.market.sources": (
        "ARCHIVES HOSTS KINDS VENUES Fetched Patience Settings data_folder datasets fetch read scan"
    ),
    "backtest.study": (
        "calibration fund holders leverage levels liquidations margins policy prediction stats survival"
    ),
    "backtest.study.calibration": "Fit baselines by_day coverage daily_records fit predict scores validate",
    "backtest.study.fund": (
        "FundSize PooledFunds cover drawdown fund_adequacy fund_flow fund_size pooled_funds symbol_flows who_bore"
    ),
    "backtest.study.holders": (
        "account_path adl_queue alerts hedges nearness options precautions replay_alerts sweep_with_top_ups"
    ),
    "backtest.study.leverage": "curve growth_optimal returns",
    "backtest.study.levels": (
        "Crowding cluster_outcomes clusters_at column_bars combine evaluation export level_grid level_map "
        "levels_of track without_drift"
    ),
    "backtest.study.levels.evaluation": (
        "FEWEST_BLOCKS FEWEST_PAIRS MapLabels Pull Trial given_heatmap hidden_events magnet recorded_events "
        "score targets conclusive"
    ),
    "backtest.study.liquidations": (
        "branching by_interval cascades feed_throttling flow hawkes heaviest imbalance summary tails tally "
        "without_liquidations"
    ),
    "backtest.study.margins": (
        "Choices Closing after_liquidation bad_debt coverage_table exceedances fit initial_margins period_moves "
        "procyclicality rolling_margins tier_adequacy"
    ),
    "backtest.study.policy": (
        "Bands Delay FundPath Grid History Replayed counterfactual evaluate frontier procedure_of run "
        "strength_limits intended"
    ),
    "backtest.study.prediction": (
        "Trial amplification area_under_curve crowding indicators labels liquidation_at_risk"
    ),
    "backtest.study.stats": "Band Rate Resampling band banded_rates blocks effective_number resampling",
    "backtest.study.survival": (
        "aalen_johansen bands excursions kaplan_meier lifetimes lives probability_surface restricted_mean "
        "volatility"
    ),
    "backtest.chart": "levels liquidations style venues",
    "backtest.chart.levels": (
        "Panel before_after cluster_figure film heatmap level_heatmap level_page liquidation_map map_figure "
        "marks profile score_figure small_multiples"
    ),
    "backtest.chart.liquidations": (
        "at_risk by_hour cascade cumulative fit_loss imbalance probability_surface quality_strip removed_paths "
        "size_distribution survival throttle timeline"
    ),
    "backtest.chart.style": (
        "DARK LIGHT SIZES VENDOR_DARK VENDOR_LIGHT Figure Look Size branded in_timezone restyled save theme"
    ),
    "backtest.chart.venues": (
        "account alert_lead_times fund_figure hedges hedges_by_leverage margin_table margins "
        "moved_mark_figure policy procedures replay_page waterfall_figure"
    ),
}

#: Modules that a package offers, and what each of them does.
TOPICS = {
    "backtest.rules.margin": (
        "bankruptcy_price equity initial_margin liquidation_price maintenance_margin notional takeover_price"
    ),
    "backtest.market.quality": "CHECKS Limits report summary",
    "backtest.study.holders.alerts": "saved vigilance worth",
    "backtest.study.holders.hedges": "liquidated pairs",
    "backtest.study.holders.options": "stop_against_liquidation ways",
    "backtest.study.holders.precautions": ("adding_margin compared lowering_leverage reducing stopped stopping"),
    "backtest.study.levels.combine": "combined levels_by_leverage relative_grids",
    "backtest.study.levels.export": "heatmap_json lightweight_charts map_json",
    "backtest.study.liquidations.branching": ("bands branching_ratio counts reading side_by_side variance_ratio"),
    "backtest.study.liquidations.cascades": (
        "GapRule PeakRule ThresholdRule by_hour_of_day compare find pulses running_totals with_price_moves"
    ),
    "backtest.study.liquidations.feed_throttling": (
        "BYBIT_VISIBLE_SHARE GAPS_UNDER_A_SECOND RULES curve dispersion_of_gaps implied_rate shown "
        "visible visible_notional_share visible_share"
    ),
    "backtest.study.liquidations.flow": (
        "by_interval concentration heaviest interval leverage leverage_bucket liquidated price_bin ranks "
        "run_ranks shares_of_open_interest summary tally"
    ),
    "backtest.study.liquidations.hawkes": "Hawkes fit log_likelihood seconds simulate",
    "backtest.study.liquidations.imbalance": "autocorrelation by_interval forced_share imbalance",
    "backtest.study.liquidations.tails": "Tail exceedance fit hill",
    "backtest.study.liquidations.without_liquidations": ("IMPACTS Impact endogenous_share paths square_root"),
    "backtest.study.margins.exceedances": (
        "coverage exact_binomial independence kupiec kupiec_range traffic_light"
    ),
    "backtest.study.policy.frontier": "LAWS frontier laws per_million spread",
    "backtest.study.prediction.amplification": "by_level constant_depth march relative_depth",
    "backtest.study.prediction.crowding": "crowding levels liquidation_at_risk",
    "backtest.study.prediction.indicators": (
        "from_bars from_funding funding_z_score open_interest_over_volume realised_volatility"
    ),
    "backtest.study.prediction.labels": "hidden_truth recorded",
    "backtest.study.prediction.liquidation_at_risk": "by_horizon by_move standing",
    "backtest.study.survival.excursions": "crashes critical_leverage excursions touching",
    "backtest.study.survival.volatility": ("distance_in_days entry_regime known_at_entry trailing_volatility"),
    "backtest.chart.style.theme": (
        "DPI FAINT INK MUTED PAPER SIDE_COLOURS TEXT below dress panel_grid side_names stacked_panels"
    ),
    "backtest.chart.levels.marks": "bubbles candles mark_line price_tag",
    "backtest.chart.venues.policy": "MEASURES Measure by_cap frontier frontiers small_multiples",
    "backtest.chart.venues.procedures": "brackets side_by_side",
}

each_package = pytest.mark.parametrize("name", OFFERED)


@each_package
def test_package__offers_these_names(name: str) -> None:
    package = import_module(name)
    assert sorted(OFFERED[name].split()) == sorted(package.__all__) == dir(package)


@pytest.mark.parametrize("name", TOPICS)
def test_module__offers_these_names(name: str) -> None:
    topic = import_module(name)
    assert sorted(TOPICS[name].split()) == sorted(topic.__all__) == dir(topic)
    assert all(hasattr(topic, offered) for offered in topic.__all__)


def test_modules__that_packages_offer_are_all_listed() -> None:
    packages = {name: import_module(name) for name in OFFERED}
    offered = [getattr(package, name) for package in packages.values() for name in package.__all__]
    assert {each.__name__ for each in offered if isinstance(each, ModuleType)} <= {*OFFERED, *TOPICS}


@each_package
def test_names__are_not_hidden_by_modules_of_their_package(name: str) -> None:
    package = import_module(name)
    modules = {module.name for module in iter_modules(package.__path__)}
    for offered in package.__all__:
        assert (offered in modules) == isinstance(getattr(package, offered), ModuleType), offered


@each_package
def test_package__offers_few_names(name: str) -> None:
    assert name == "backtest" or len(import_module(name).__all__) <= 13


def test_engine_and_kernel__are_no_public_modules() -> None:
    assert not {"engine", "kernel"} & set(dir(import_module("backtest")))


def test_unknown_name__raises() -> None:
    with pytest.raises(AttributeError, match=r"module 'backtest\.study' has no attribute 'nothing'"):
        _ = import_module("backtest.study").nothing


def test_listing__loads_nothing_heavy() -> None:
    code = f"""
import sys
for name in {list(OFFERED)}:
    __import__(name)
    dir(sys.modules[name])
print([name for name in ("numba", "polars", "matplotlib", "numpy") if name in sys.modules])
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_completion__in_ipython_lists_what_a_package_offers() -> None:
    completer = pytest.importorskip("IPython.core.completer")
    import backtest

    found = completer.IPCompleter(namespace={"backtest": backtest})
    with completer.provisionalcompleter():
        names = {each.text.rpartition(".")[2] for each in found.completions("backtest.study.", 15)}
    assert set(OFFERED["backtest.study"].split()) <= names
