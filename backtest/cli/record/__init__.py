"""The command ``backtest record``: a venue's complete feed of liquidations, kept in a file."""
