"""Scores a source, from where an earlier process stopped, and writes the scores."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from flowkit_runtime.atomic import naming, replacing
from flowkit_runtime.bundle import CHECKSUM
from flowkit_runtime.errors import InputError
from flowkit_runtime.inputs import Array
from flowkit_runtime.streaming.outputs import ScoreTable, write
from flowkit_runtime.streaming.part import Part, opened
from flowkit_runtime.streaming.sources import Source, naming_rows, rows_at_once
from flowkit_runtime.streaming.summary import Summary, summarize

if TYPE_CHECKING:
    from flowkit_runtime.model import Model

_LAYOUT = 3  # the version of part files; it changes whenever the inputs of the scores do


@dataclass(frozen=True)
class Job:
    """The scoring of a source with a model.

    Attributes:
        model: the model.
        source: the events.
        data: path of the source, for messages.
        draws, seed: dequantization noise, see Model.score.
        threads: the threads that the model was loaded with; the last digits of a score depend on them.
        posterior: True if the probabilities of the classes are written beside the scores.
    """

    model: Model
    source: Source
    data: Path
    draws: int = 1
    seed: int = 0
    threads: int | None = None
    posterior: bool = False

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes whose probabilities are written."""
        context = self.model.context
        if not self.posterior or context is None:
            return ()
        return context.class_names

    @property
    def threshold(self) -> float | None:
        """The threshold of anomalies, which is one of scores given the class."""
        threshold = self.model.threshold
        return None if threshold is None or self.source.lacks_class else threshold.score

    @property
    def made_from(self) -> list[Any]:
        """JSON values that are different if the scores could be."""
        import onnxruntime

        rows = rows_at_once(self.model.event_shape, self.model.context)
        settings = [self.draws, self.seed, self.threads, self.model.providers, rows, self.posterior]
        bundle = self.model.manifest[CHECKSUM]  # of the manifest, which has those of the other files
        return [_LAYOUT, onnxruntime.__version__, bundle, self.source.identity, *settings]


def score_file(job: Job, output: Path | None, progress: Callable[[int], None]) -> Summary:
    """Score all rows and write `output`. Memory use does not grow with the number of rows.

    A killed process leaves a part file beside `output`. The same job resumes from it, and gives the same bytes: batches
    begin at the same rows, and noise is a function of the row. A different job starts from the beginning.

    Args:
        job: The model, the source of the rows, and what is written of them.
        output: The file to write, or None for the summary alone.
        progress: A function that is called with the number of rows that are scored, at the beginning and after each
            batch.

    Raises:
        InputError: If a row can't be scored. The message names file and row.
    """
    batch = rows_at_once(job.model.event_shape, job.model.context)
    with _part_file(output) as file:
        part = Part(file, job.made_from, batch, 1 + len(job.classes))
        progress(part.rows)
        _score(job, part, batch, progress)
        if output is not None:
            with replacing(output) as temporary:
                write(ScoreTable(part, job.threshold, job.source, job.classes), temporary)
        return summarize(part.blocks, job.threshold, job.source.drops_rows)


def _score(job: Job, part: Part, batch: int, progress: Callable[[int], None]) -> None:
    for events, context in job.source.batches(part.rows, batch):
        with naming_rows(job.data):
            rows = _rows(job, events, context, batch, part.rows)
        part.append(rows)
        progress(part.rows)


def _rows(job: Job, events: Array, context: Array | None, batch: int, start: int) -> NDArray[np.float64]:
    """Return the score of each event, and the probabilities of the classes if they are written, [n, 1 + classes]."""
    model = job.model
    if not job.classes:
        return model.score(events, context, job.draws, job.seed, batch_size=batch, start=start)[:, None]
    scores, posterior = model.marginal_score_and_posterior(events, job.draws, job.seed, batch_size=batch, start=start)
    if context is not None:
        scores = model.score(events, context, job.draws, job.seed, batch_size=batch, start=start)
    return np.concatenate([scores[:, None], posterior], axis=1)


@contextmanager
def _part_file(output: Path | None) -> Iterator[IO[bytes]]:
    """Yield the file for the scores. Without an output it is a temporary file without a name."""
    if output is None:
        with naming(_temporary_directory()), tempfile.TemporaryFile(buffering=0) as temporary:
            yield temporary
    else:
        with naming(output), opened(output) as file:
            yield file


def _temporary_directory() -> Path:
    try:
        return Path(tempfile.gettempdir())
    except FileNotFoundError as error:  # no temporary directory is writable
        raise InputError(f"{error.strerror}: make one, or name an output beside which scores are kept") from error
