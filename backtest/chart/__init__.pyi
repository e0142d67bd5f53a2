from backtest.chart import levels as levels
from backtest.chart import liquidations as liquidations
from backtest.chart import style as style
from backtest.chart import venues as venues
