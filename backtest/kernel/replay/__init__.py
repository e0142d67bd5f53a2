"""Kernels of the replay: queues, orders, fund, auto-deleveraging, ledger."""
