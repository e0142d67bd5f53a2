"""One call over the batches of a job: which are missing, how far it is, what failed."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from typing import Any

from backtest.errors import BacktestError, IncompleteError, Remedy
from backtest.scale.batches import Batch, is_remote
from backtest.scale.executors import Done, Executor, GoneError, LostError, WorkError, is_unwritable
from backtest.scale.inputs import Identity, content_of
from backtest.scale.manifest import Manifest, is_whole
from backtest.scale.merge import forget
from backtest.scale.result import Progress, Result
from backtest.scale.worker import Job, Swept, sweep_batch

#: Failed batches that are named in a message; all are in ``IncompleteError.failed``.
MOST_NAMED = 5


class Run:
    """The batches of a job, and a manifest of those that are finished."""

    def __init__(self, job: Job, manifest: Manifest, batches: Sequence[Batch]) -> None:
        self.job, self.manifest = job, manifest
        self.batches = {batch.name: batch for batch in batches}
        self.records = {name: self._record(name) for name in self.batches if name in manifest}
        for name in list(self.records):
            if not self._holds(name):
                manifest.forget(name)
                for file in self.records.pop(name)["files"]:
                    (job.folder / file).unlink(missing_ok=True)
        self.missing = [batch for batch in batches if batch.name not in self.records]
        self.failed: dict[str, str] = {}
        self.remedies: Sequence[Remedy] = ()  #: of the first that failed
        self.began = time.perf_counter()
        self.done_before = self._done()

    def sweep(self, executor: Executor, report: Callable[[Progress], None] | None) -> None:
        """Sweep the batches that are missing.

        Raises
        ------
        IncompleteError
            Once the others are done, where any could not be; at once where results cannot be written.
        """
        if not self.missing:
            return
        forget(self.job.folder)
        for batch in self.missing:
            executor.submit(batch.name, sweep_batch, self.job, batch)
        report = report or (lambda _: None)
        report(self.progress())
        for done in executor.gather():
            self._take(done)
            report(self.progress())
        if self.failed:
            raise IncompleteError(self._sentence(), self.failed, remedies=self.remedies)

    def progress(self) -> Progress:
        """Return how far it is."""
        return Progress(
            batches=len(self.batches),
            finished=len(self.records),
            failed=len(self.failed),
            positions=sum(batch.rows or 0 for batch in self.batches.values()),
            done=self._done(),
            done_before=self.done_before,
            seconds=time.perf_counter() - self.began,
        )

    def result(self) -> Result:
        """Return what there is once all batches are swept."""
        records = list(self.records.values())
        stages = dict.fromkeys(name for record in records for name in record["seconds"])
        return Result(
            self.job.folder,
            positions=self._done(),
            rows=sum(record["rows"] for record in records),
            batches=len(self.batches),
            swept=len(self.missing),
            seconds={name: sum(record["seconds"].get(name, 0.0) for record in records) for name in stages},
            wall_seconds=time.perf_counter() - self.began,
            grids=self.job.grids,
            unit=self.job.unit,
            moved=self.job.drift or self.job.adjustments is not None,
            inputs=self._inputs(),
        )

    def _inputs(self) -> dict[str, str]:
        """Return what every input was, by its path."""
        known = dict(self.job.files)
        for name, batch in self.batches.items():
            if is_remote(batch.path):
                known[batch.path] = self.records[name]["input"]
        return {
            path: found.sha256 if isinstance(found, Identity) else " ".join(map(str, found or ()))
            for path, found in known.items()
        }

    def unwritable(self, error: OSError) -> IncompleteError:
        """Return the error where results cannot be written."""
        where = f"{error.filename or self.manifest.folder}: {error.strerror or error}"
        message = f"results cannot be written: {where}; {self._finished()}: run the same again once they can"
        return IncompleteError(message, self.failed)

    def _finished(self) -> str:
        return f"{len(self.records):,} of {len(self.batches):,} batches are finished and stay"

    def _take(self, done: Done) -> None:
        """Record the result of a batch."""
        error = done.error
        if error is not None and is_unwritable(error):
            raise error
        if isinstance(error, GoneError):
            raise IncompleteError(f"{error}; {self._finished()}: run the same again once it does", self.failed)
        if error is not None:
            if isinstance(error, BacktestError):
                reason = error.message(lambda _: None)
                remedies = self._smaller(done.name) if isinstance(error, LostError) else error.remedies
                self.remedies = self.remedies if self.failed else remedies
            else:
                reason = str(error) if isinstance(error, WorkError) else f"{type(error).__name__}: {error}"
            self.failed[done.name] = f"{self.batches[done.name]}: {reason}"
            return
        swept: Swept = done.value
        record = {**vars(swept), "input": self._input(self.batches[done.name], swept.content)}
        self.manifest.finish(done.name, lambda path: path.write_text(json.dumps(record), "utf-8"))
        self.records[done.name] = record

    def _smaller(self, name: str) -> Sequence[tuple[str, str]]:
        """Return the way out where workers die over a batch: half as many rows."""
        rows = self.batches[name].rows or 0
        return (("batch_rows", str(rows // 2)),) if rows > 1 else ()

    def _record(self, name: str) -> dict[str, Any]:
        """Return the manifest's record of a finished batch."""
        record: dict[str, Any] = json.loads(self.manifest.file(name).read_text("utf-8"))
        return record

    def _holds(self, name: str) -> bool:
        """Whether neither the input nor the results of a batch have changed since it was swept."""
        record, folder = self.records[name], self.job.folder
        whole = (is_whole(folder / file, checksum) for file, checksum in record["files"].items())
        return all(whole) and record["input"] == self._input(self.batches[name])

    def _input(self, batch: Batch, content: Sequence[int] | None = None) -> list[Any]:
        """Return what a batch is made of: its file, or its rows in object storage, and those numbered before.

        The rows are read where their ``content`` is not given.
        """
        numbered = [] if batch.unnamed_before is None else [batch.unnamed_before]
        if is_remote(batch.path):
            return [*(content or content_of(batch.scan(self.job.storage))), *numbered]
        found = [self.job.files[path] for path in batch.paths]
        return [part for each in found if isinstance(each, Identity) for part in each.content] + numbered

    def _done(self) -> int:
        return sum(self.batches[name].rows or 0 for name in self.records)

    def _sentence(self) -> str:
        names = list(self.failed)
        others = [str(self.batches[name]) for name in names[1:MOST_NAMED]]
        more = f"; {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
        also = f"; also {'; '.join(others)}{more}" if others else ""
        counted = f"{len(names):,} of {len(self.batches):,} batches could not be swept"
        return f"{counted}, the others are finished and stay: {self.failed[names[0]]}{also}"
