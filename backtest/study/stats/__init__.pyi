from backtest.study.stats.bands import Band as Band
from backtest.study.stats.bands import effective_number as effective_number
from backtest.study.stats.bootstrap import Resampling as Resampling
from backtest.study.stats.bootstrap import band as band
from backtest.study.stats.bootstrap import blocks as blocks
from backtest.study.stats.bootstrap import resampling as resampling
from backtest.study.stats.rates import Rate as Rate
from backtest.study.stats.rates import banded_rates as banded_rates
