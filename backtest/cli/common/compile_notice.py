"""What a command says before work that is compiled first, once on a machine and version."""

from __future__ import annotations


def compiling(kernel: str) -> str:
    """Return a note where a kernel, ``module.function``, is still to be compiled, nothing where it is kept."""
    from backtest.kernel.compile import CACHE_FOLDER, COMPILED

    if not COMPILED or (CACHE_FOLDER is not None and any(CACHE_FOLDER.glob(f"*/{kernel}-*.nbi"))):
        return ""
    return "compiling it first, a minute or two, once"
