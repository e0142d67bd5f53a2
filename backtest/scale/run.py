"""One call over the batches of a job: which are missing, how far it is, what failed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from backtest.errors import IncompleteError
from backtest.scale import identity
from backtest.scale.batches import Batch, is_remote, stamp
from backtest.scale.executors import Done, Executor, is_unwritable
from backtest.scale.manifest import Manifest
from backtest.scale.merge import forget
from backtest.scale.result import Progress, Result
from backtest.scale.work import Job, Swept, sweep_batch

#: Failed batches that are named in a message; all are in ``IncompleteError.failed``.
MOST_NAMED = 5


class Run:
    """The batches of a job, and a manifest of those that are finished."""

    def __init__(self, job: Job, manifest: Manifest, batches: Sequence[Batch]) -> None:
        self.job, self.manifest = job, manifest
        self.batches = {batch.name: batch for batch in batches}
        self.inputs = {batch.name: [] if is_remote(batch.path) else stamp(batch.path) for batch in batches}
        for name in list(manifest.shards):
            if name not in self.batches or not self._is_finished(name):
                manifest.forget(name)
        self.missing = [batch for batch in batches if batch.name not in manifest.shards]
        self.failed: dict[str, str] = {}
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
        identity.check(list(self.batches.values()), self.job.adjustments, self.job.storage)
        for batch in self.missing:
            executor.submit(batch.name, sweep_batch, self.job, batch)
        tell = report or (lambda _: None)
        tell(self.progress())
        for done in executor.gather():
            self._take(done)
            tell(self.progress())
        if self.failed:
            raise IncompleteError(self._sentence(), self.failed)

    def progress(self) -> Progress:
        """Return how far it is."""
        return Progress(
            batches=len(self.batches),
            finished=len(self.manifest.shards),
            failed=len(self.failed),
            positions=sum(batch.rows or 0 for batch in self.batches.values()),
            done=self._done(),
            done_before=self.done_before,
            seconds=time.perf_counter() - self.began,
        )

    def result(self) -> Result:
        """Return what there is once all batches are swept."""
        facts = [shard.facts for shard in self.manifest.shards.values()]
        stages = dict.fromkeys(name for fact in facts for name in fact["seconds"])
        return Result(
            self.job.folder,
            positions=self._done(),
            rows=sum(fact["rows"] for fact in facts),
            batches=len(self.batches),
            swept=len(self.missing),
            seconds={name: sum(fact["seconds"].get(name, 0.0) for fact in facts) for name in stages},
            wall_seconds=time.perf_counter() - self.began,
        )

    def unwritable(self, error: OSError) -> IncompleteError:
        """Return what to say where results cannot be written."""
        where = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        finished = f"{len(self.manifest.shards):,} of {len(self.batches):,} batches are finished and stay"
        message = f"results cannot be written: {where}; {finished}: run the same again once they can"
        return IncompleteError(message, self.failed)

    def _take(self, done: Done) -> None:
        """Record what became of a batch."""
        error = done.error
        if error is not None and is_unwritable(error):
            raise error
        if error is not None:
            self.failed[done.name] = f"{self.batches[done.name]}: {error}"
            return
        swept: Swept = done.value
        facts = {"rows": swept.rows, "seconds": dict(swept.seconds), "input": self.inputs[done.name]}
        self.manifest.finish(done.name, swept.files, **facts)

    def _is_finished(self, name: str) -> bool:
        """Whether a batch was swept from the file as it now is, and its own files are as they were left."""
        return self.manifest.shards[name].facts["input"] == self.inputs[name] and self.manifest.is_finished(name)

    def _done(self) -> int:
        return sum(self.batches[name].rows or 0 for name in self.manifest.shards)

    def _sentence(self) -> str:
        names = list(self.failed)
        others = [str(self.batches[name]) for name in names[1:MOST_NAMED]]
        more = f"; {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
        also = f"; also {'; '.join(others)}{more}" if others else ""
        counted = f"{len(names):,} of {len(self.batches):,} batches could not be swept"
        return f"{counted}, the others are finished and stay: {self.failed[names[0]]}{also}"
