"""Open interest as cohorts: quantity opened in each bar, liquidated and closed later.

Every contract has a long and a short holder, so each side is the whole open interest. In bar i, of one
side:

1. the cohorts whose liquidation bar this is leave: L = sum over them of what still stands;
2. holders close C, pro rata over what remains: a stated flow, or more where open interest fell by more;
3. what is missing to the open interest is opened, at the bar's close, over the leverage mix: O = dOI + L + C.

Closing pro rata is one survival factor a side, so a cohort opened at i is still open at the opening of j with the
share survival(j) / survival(i + 1). A wick that liquidates takes its cohorts first; they are never closed again.
The liquidation bars come from the sweep; nothing here knows a margin.
"""

from __future__ import annotations

import numpy as np

from backtest.kernel.compile import kernel
from backtest.kernel.types import Floats, Integers

#: Below this the running survival factor starts again at one, and open quantities are scaled to it.
SMALLEST = 1e-100


@kernel
def stand(
    open_interest: Floats,
    closing: Floats,
    opening: Floats,
    by_open_interest: bool,
    mix: Floats,
    liquidation_bar: Integers,
    waiting: Floats,
    opened: Floats,
    liquidated: Floats,
    closed: Floats,
    log_survival: Floats,
) -> None:
    """Write one side's flows over the bars of a symbol.

    Parameters
    ----------
    open_interest : (bars,) base, at each bar's close; ignored unless ``by_open_interest``
    closing : (bars,) base that holders close by themselves; a share of what stands unless ``by_open_interest``
    opening : (bars,) base opened; ignored where ``by_open_interest``
    mix : (bars * leverages,) share of what a bar opens at each leverage, adding up to one a bar
    liquidation_bar : (bars * leverages,) in which each bar's cohorts are liquidated; at least ``bars`` for never
    waiting : (bars,) zeros; scratch
    opened, liquidated, closed : (bars,) base
    log_survival : (bars + 1,) at each opening, and at the end
    """
    bars = opened.shape[0]
    leverages = mix.shape[0] // bars
    standing = 0.0
    factor = 1.0
    log_survival[0] = 0.0
    for bar in range(bars):
        taken = min(factor * waiting[bar], standing)
        left = standing - taken
        if by_open_interest:
            closes = min(closing[bar], left)
            opens = (open_interest[bar] - left) + closes
            if opens < 0.0:
                closes, opens = left - open_interest[bar], 0.0
        else:
            closes, opens = closing[bar] * left, opening[bar]
        share = 1.0 - closes / left if left > 0.0 else 1.0
        share = max(share, SMALLEST)  # everything closed: almost nothing stays open
        factor *= share
        if factor <= SMALLEST:
            for later in range(bar + 1, bars):
                waiting[later] *= factor
            factor = 1.0
        standing = (left - closes) + opens
        for leverage in range(leverages):
            cohort = bar * leverages + leverage
            ends = liquidation_bar[cohort]
            if ends < bars:
                waiting[ends] += opens * mix[cohort] / factor
        opened[bar], liquidated[bar], closed[bar] = opens, taken, closes
        log_survival[bar + 1] = log_survival[bar] + np.log(share)
