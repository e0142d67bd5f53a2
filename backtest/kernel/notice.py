"""Notice before large kernels are compiled: which ones, about how long it takes, and that it happens once.

numba announces every compilation that no kept kernel spares. The notice is a warning of the logger ``backtest``,
which Python prints on stderr where a program has arranged nothing else::

    logging.getLogger("backtest").setLevel(logging.ERROR)  # no notice
    backtest.warm()  # everything compiled beforehand
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from numba.core import event

#: Seconds of one core to compile the kernels of a kind, of which the large ones are announced.
SECONDS = {"sweep": 15, "account": 20, "replay": 40, "counterfactual": 45}
LARGE = {
    "backtest.kernel.sweep.passive.cross": "sweep",
    "backtest.kernel.sweep.managed.live": "sweep",
    "backtest.kernel.accounts.sweep.live": "account",
    "backtest.kernel.replay.run.run": "replay",
    "backtest.kernel.counterfactual.run.run_both": "counterfactual",
}


class Notice(event.Listener):  # type: ignore[misc]
    """Warns when numba begins to compile a large kernel, once for each kind.

    Parameters
    ----------
    folder : where compiled kernels are kept; None where there is no such place
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self.announced: set[str] = set()

    def on_start(self, event: Any) -> None:
        """Warn of what begins."""
        function = event.data["dispatcher"].py_func
        kind = LARGE.get(f"{function.__module__}.{function.__name__}")
        if kind is not None and kind not in self.announced:
            self.announced.add(kind)
            logging.getLogger("backtest").warning(self.message(kind))

    def on_end(self, event: Any) -> None:
        """Say nothing more."""

    def message(self, kind: str) -> str:
        """Return the notice of a kind of kernels."""
        begins = f"backtest compiles its {kind} kernels, about {SECONDS[kind]} s"
        if self.folder is None:
            return f"{begins}, in every process anew: no folder to keep them in is writable (set NUMBA_CACHE_DIR)"
        return f"{begins}, once on this machine; `backtest warm` compiles everything beforehand"


def install(folder: Path | None) -> None:
    """Announce compilations from now on."""
    event.register("numba:compile", Notice(folder))
