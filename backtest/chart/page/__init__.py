"""Blocks of self-contained HTML pages: style, sortable tables, charts with a crosshair."""
