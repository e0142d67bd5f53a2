"""Figures show themselves in a notebook: once, with the magic and without."""

from __future__ import annotations

import pytest

from backtest.chart.style import Figure

shell = pytest.importorskip("IPython.core.interactiveshell")
PNG = b"\x89PNG"


def drawn() -> Figure:
    figure = Figure(figsize=(4, 3), dpi=80)
    figure.subplots().plot([1, 2])
    return figure


def test_figure__is_shown_without_magic() -> None:
    formatter = shell.InteractiveShell().display_formatter
    data, metadata = formatter.format(drawn())
    assert data["image/png"].startswith(PNG)
    assert metadata["image/png"] == {"width": 384, "height": 288}
    assert sorted(data) == ["image/png", "text/plain"]


def test_figure__is_shown_once_with_magic() -> None:
    from IPython.core.pylabtools import select_figure_formats

    running = shell.InteractiveShell()
    select_figure_formats(running, ["png"])
    data, _ = running.display_formatter.format(drawn())
    assert sorted(data) == ["image/png", "text/plain"]
