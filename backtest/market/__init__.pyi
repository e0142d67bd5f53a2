from backtest.market import quality as quality
from backtest.market import sources as sources
from backtest.market.loading import load as load
from backtest.market.loading import sample as sample
from backtest.market.market import Market as Market
