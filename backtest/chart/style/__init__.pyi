from backtest.chart.style import theme as theme
from backtest.chart.style.figure import Figure as Figure
from backtest.chart.style.looks import DARK as DARK
from backtest.chart.style.looks import LIGHT as LIGHT
from backtest.chart.style.looks import SIZES as SIZES
from backtest.chart.style.looks import Look as Look
from backtest.chart.style.looks import Size as Size
