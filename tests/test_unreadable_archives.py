"""Archives that are damaged, encrypted or packed in unusual ways end in one line."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest

from backtest.errors import DataError
from backtest.market.sources.formats.delimited import unpacked

ROW = b"1621425600000,38000,38100,37900,38050,1.5,1621425659999,57000,10,0.5,19000,0\n" * 50
PACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)


def zipped(kind: int) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", kind) as archive:
        archive.writestr("BTCUSDT-1m-2021-05-19.csv", ROW)
    return held.getvalue()


def test_encrypted_zips__are_refused(tmp_path):
    data = bytearray(zipped(zipfile.ZIP_DEFLATED))
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(mark) + place] |= 1
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(DataError, match=r"a\.zip is damaged: .*encrypted"):
        unpacked(tmp_path / "a.zip")


@pytest.mark.parametrize("kind", PACKED)
def test_damaged_zips__are_read_as_they_were_or_refused(tmp_path, kind):
    refused = 0
    whole, rng = zipped(kind), np.random.default_rng(kind)
    for _ in range(150):
        data = bytearray(whole)
        for place in rng.integers(0, len(data), 3):
            data[place] = rng.integers(0, 256)
        (tmp_path / "a.zip").write_bytes(data[: rng.integers(len(data) // 2, len(data) + 1)])
        try:
            assert unpacked(tmp_path / "a.zip") == ROW
        except DataError:
            refused += 1
    assert refused > 50
