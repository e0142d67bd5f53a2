"""Charts of venues and accounts: insurance funds, margins, policies, procedures, losses, hedges."""

from backtest.lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
