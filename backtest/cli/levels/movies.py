"""Films as files: GIF always, MP4 where the program ffmpeg is."""

from __future__ import annotations

import shutil
import subprocess
from itertools import chain, repeat
from pathlib import Path

from backtest.chart.levels.film import A_SECOND, LAST_SECONDS, Film
from backtest.errors import ArgumentError, BacktestError


def require_ffmpeg() -> str:
    """Return where ffmpeg is.

    Raises
    ------
    ArgumentError
        Where it is not found.
    """
    found = shutil.which("ffmpeg")
    if found is None:
        raise ArgumentError(
            "--formats mp4 needs the program ffmpeg, which is not found: install it, or take gif, "
            "which needs nothing"
        )
    return found


def write_gif(film: Film, path: Path) -> None:
    """Write a film as a GIF."""
    path.write_bytes(film.gif())


def write_mp4(film: Film, path: Path) -> None:
    """Write a film as an MP4; the last picture stands for two seconds.

    Raises
    ------
    BacktestError
        Where ffmpeg fails, with its last line.
    """
    pictures = film.pictures()
    first = next(pictures)
    width, height = (size // 2 * 2 for size in first.size)  # the codec wants even numbers
    raw = f"-f rawvideo -pix_fmt rgb24 -s {width}x{height} -r {A_SECOND:g} -i -".split()
    coded = ["-an", "-c:v", "libx264", "-pix_fmt", "yuv420p", "-movflags", "+faststart"]
    command = [require_ffmpeg(), "-y", "-loglevel", "error", *raw, *coded, str(path)]
    last = first
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            for last in chain([first], pictures):
                process.stdin.write(last.crop((0, 0, width, height)).tobytes())  # type: ignore[union-attr]
            for picture in repeat(last, int(A_SECOND * LAST_SECONDS)):
                process.stdin.write(picture.crop((0, 0, width, height)).tobytes())  # type: ignore[union-attr]
        except BrokenPipeError:
            pass  # it says why below
        _, told = process.communicate()
    if process.returncode:
        lines = told.decode(errors="replace").strip().splitlines() or ["no reason given"]
        raise BacktestError(f"ffmpeg could not write {path.name}: {lines[-1]}")
