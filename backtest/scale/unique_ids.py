"""Checks across batches: no id used twice, no adjustment of an unknown position.

They run before any batch is swept. Rising ids need only the lowest and highest id of each batch; others are
compared a share of them at a time, so that memory stays bounded.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from backtest.errors import DataError
from backtest.market.files import readable
from backtest.market.panics import UNREADABLE, quiet
from backtest.scale.batches import Batch, StorageOptions, ids_of, scan
from backtest.schemas.validation import named_alike

#: The lowest and highest id of a batch, whole numbers or text.
Span = tuple[Any, Any, Batch]

#: Ids that are compared at once.
AT_ONCE = 10_000_000


def check(batches: Sequence[Batch], adjustments: str | None, storage: StorageOptions | None) -> None:
    """Raise for ids used twice in different batches, and for adjustments of unknown positions.

    Raises
    ------
    DataError
        For either, with the number of ids and the lowest of them.
    """
    spans = [span for batch in batches if (span := _span(batch, storage)) is not None]
    for group in _overlapping(spans):
        _require_distinct(group, storage)
    if adjustments is not None and len(spans) == len(batches):  # a damaged file may hold the ones that are missing
        _require_known(adjustments, spans, storage)


def _ids(batch: Batch, storage: StorageOptions | None) -> pl.LazyFrame:
    return ids_of(batch.scan(storage))


def _span(batch: Batch, storage: StorageOptions | None) -> Span | None:
    """Return the lowest and highest id of a batch; None where it has none, or is damaged."""
    ids = pl.col("position_id")
    try:
        with quiet():
            lowest, highest = _ids(batch, storage).select(a=ids.min(), b=ids.max()).collect().row(0)
    except UNREADABLE:
        return None
    return None if lowest is None else (lowest, highest, batch)


def _overlapping(spans: Sequence[Span]) -> list[list[Span]]:
    """Return the groups of batches whose ids lie between one another's."""
    groups: list[list[Span]] = []
    end = None
    for span in sorted(spans, key=lambda span: span[:2]):
        if end is None or span[0] > end:
            groups.append([])
        groups[-1].append(span)
        end = span[1] if end is None else max(end, span[1])
    return [group for group in groups if len(group) > 1]


def _require_distinct(group: Sequence[Span], storage: StorageOptions | None) -> None:
    ids = pl.concat([_ids(batch, storage) for _, _, batch in group])
    total = sum(batch.rows or 0 for _, _, batch in group)
    share = pl.col("position_id").hash(0) % max(1, -(-total // AT_ONCE))
    for number in range(max(1, -(-total // AT_ONCE))):
        counted = ids.filter(share == number).group_by("position_id").len()
        twice = counted.filter(pl.col("len") > 1).collect(engine="streaming")
        if not twice.is_empty():
            raise DataError(
                "positions: position_id must not repeat, in other batches neither: "
                f"{twice.height:,} or more are used again, the lowest of them {twice['position_id'].min()!r}"
            )


def _require_known(adjustments: str, spans: Sequence[Span], storage: StorageOptions | None) -> None:
    with readable(f"adjustments file {adjustments}", "Parquet"):
        kind = ids_of(spans[0][2].scan(storage)).collect_schema()["position_id"] if spans else pl.Int64()
        changes = ids_of(scan(adjustments, False, storage)).unique().collect()
    changes = named_alike(changes, "position_id", kind)
    total, left = changes.height, changes
    for lowest, highest, batch in spans:
        if left["position_id"].is_between(lowest, highest).any():
            left = left.join(_ids(batch, storage).collect(), on="position_id", how="anti")
    if not left.is_empty():
        raise DataError(
            f"adjustments: position_id must be one of the positions': {left.height:,} of {total:,} ids are not, "
            f"the lowest {left['position_id'].min()!r}"
        )
