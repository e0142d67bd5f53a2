from backtest.study.leverage.margin_returns import returns as returns
from backtest.study.leverage.wealth_curves import curve as curve
from backtest.study.leverage.wealth_curves import growth_optimal as growth_optimal
