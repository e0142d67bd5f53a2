"""Archives that are damaged, encrypted or packed in unusual ways end in one line."""

from __future__ import annotations

import gzip
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from backtest.errors import DataError
from backtest.market import Market
from backtest.market.sources import read
from backtest.market.sources.formats import packed
from backtest.trades import read as read_trades

ROW = b"1621425600000,38000,38100,37900,38050,1.5,1621425659999,57000,10,0.5,19000,0\n" * 50
PACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)


def unpacked(path: Path) -> bytes:
    return packed.unwrapped(packed.content(path), path)


def zipped(kind: int) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", kind) as archive:
        archive.writestr("BTCUSDT-1m-2021-05-19.csv", ROW)
    return held.getvalue()


def zip_of(files: dict[str, bytes]) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return held.getvalue()


def reads_klines(path: Path) -> object:
    return read(path, "klines", symbol="BTCUSDT")


def reads_trades(path: Path) -> object:
    return read_trades(path)


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


@pytest.mark.parametrize("reads", [reads_klines, reads_trades])
@pytest.mark.parametrize("pack", [zipfile.ZIP_DEFLATED, "gzip"])
def test_archives_that_unpack_to_too_much__are_refused(tmp_path, monkeypatch, pack, reads):
    data = gzip.compress(bytes(1_001)) if pack == "gzip" else zip_of({"a.csv": bytes(1_001)})
    path = tmp_path / ("a.csv.gz" if pack == "gzip" else "a.zip")
    path.write_bytes(data)
    monkeypatch.setattr(packed, "MOST_UNPACKED", 1_000)
    with pytest.raises(DataError, match=r"at most 1,000 bytes are unpacked: if that is meant, unpack it first"):
        reads(path)
    monkeypatch.setattr(packed, "MOST_UNPACKED", 1_001)
    with pytest.raises(DataError, match=r"^(?!.*are unpacked)"):  # zeros are neither klines nor trades
        reads(path)


def test_zips_that_declare_less_than_they_hold__are_refused(tmp_path):
    """The size that a zip declares is in two places, and neither is trusted."""
    data = bytearray(zip_of({"a.csv": bytes(5_000)}))
    for mark, place in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        at = data.index(mark) + place
        data[at : at + 4] = (100).to_bytes(4, "little")
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(DataError, match="is damaged"):
        unpacked(tmp_path / "a.zip")


def test_files_beside_the_data__are_left_out_and_counted(tmp_path):
    beside = {"__MACOSX/._BTCUSDT-1m-2021-05-19.csv": b"\x00\x05", ".DS_Store": b"x"}
    path = tmp_path / "BTCUSDT-1m-2021-05-19.zip"
    path.write_bytes(zip_of({"BTCUSDT-1m-2021-05-19.csv": ROW.splitlines(True)[0], **beside}))
    reading = read(path, "klines")
    assert reading.rows.height == 1
    assert reading.repairs.counts == {"beside": 2}


def test_bars_off_the_grid_that_overlap__are_left_out_and_counted(tmp_path):
    hour, start = 3_600_000, 1_518_044_400_000
    opens = [*(start + n * hour for n in range(3)), start + 4 * hour + 1_694_789, start + 5 * hour + 1_694_789]
    opens += [start + n * hour for n in range(6, 9)]  # the first of these cuts the bar before it short
    text = "".join(f"{at},8000,8100,7900,8050,10,{at + hour - 1},80000,100,5,40000,0\n" for at in opens)
    (tmp_path / "BTCUSDT-1h-2018-02.csv").write_text(text)
    reading = read(tmp_path / "BTCUSDT-1h-2018-02.csv", "klines")
    assert reading.repairs.counts == {"off_grid": 1}
    assert [at.timestamp() * 1000 for at in reading.rows["time"]] == opens[:4] + opens[5:]
    assert Market(reading.rows).gaps().height == 2
