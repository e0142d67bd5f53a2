"""A counterfactual against the plain replay: equal answers first, then both worlds' processor time as ratios.

    flock /tmp/heavy.lock python -m benchmarks.counterfactual [--positions 1000000] [--bars 525600] [--repeats 3]

The book and history of ``benchmarks.replay``: funding every eight hours, Binance tiers, planned exits. Processor
time, best of several in one run; read the ratios, not the seconds.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np

from backtest import Impact, Venue, replay
from benchmarks.replay import best, history, positions

#: How far all liquidations of the history move the mark together.
MOVES = (0.01, 0.1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--positions", type=int, default=1_000_000)
    parser.add_argument("--bars", type=int, default=525_600)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    rng = np.random.default_rng(7)
    market = history(options.bars, rng)
    book = positions(market, options.positions, rng)
    venue = Venue.load("binance").with_(adl_trigger="never", rounds=0)
    rules: dict[str, Any] = {"tiers": "nearest", "leverage_limit": "cap", "threads": 1, "fund": 1e9}

    plain, alone = best(lambda: replay(book, market, venue, **rules), options.repeats, time.process_time)
    recording, facts = best(
        lambda: replay(book, market, venue, record_flow=True, **rules), options.repeats, time.process_time
    )
    assert facts.outcomes.equals(alone.outcomes)
    lines = [("plain replay", plain), (f"facts, {facts.flow.height:,} events written down", recording)]
    policies = {
        "the same": venue,
        "leverage at most 20": venue.with_(maximum_leverage=20.0),
        "maintenance doubled": venue.with_(rate_scale=2.0),
        "steps of a quarter": venue.with_(step="fraction", step_fraction=0.25),
    }
    for name, policy in policies.items():
        for move in MOVES:
            impact = Impact(mark=move / float(facts.flow["notional"].sum()), permanent=0.5, half_life_seconds=600)
            seconds, found = best(
                lambda: replay(book, market, policy, impact=impact, facts=facts.flow, **rules),
                options.repeats,
                time.process_time,
            )
            assert int(found.ledger["total"].sum()) == 0
            if name == "the same":
                assert (found.impact["offset"] == 0).all()
                assert found.outcomes.equals(alone.outcomes)
            lines.append((f"policy: {name}, history moved by {move:.0%}", seconds))
    print(f"{options.positions:,} positions x {options.bars:,} bars, best of {options.repeats}")
    print("\n".join(f"{name:55} {seconds:9.3f} s  {seconds / plain:8.2f} x plain" for name, seconds in lines))


if __name__ == "__main__":
    main()
