"""Validations that visitors start: which files they may name, their uploads, and the jobs."""

from __future__ import annotations

import secrets
import shutil
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ..data.lmdb.record import Record
from ..data.lmdb.writer import LmdbWriter
from ..data.resize import Refused
from ..errors import Busy, LowRankError, NotWritten, UsageError
from ..models.cards import ModelCard
from ..models.download import DownloadProgress
from ..runtime.files import atomic_write
from ..validate.report import Report, dump_json, report_csv
from .jobs import Job, JobRegistry, JobStatus
from .service import Service

SAMPLE = "sample-photos.lmdb"
_BATCH = 32
_MOST_UPLOADS = 20
_UPLOAD_SECONDS = 2 * 3600
_MOST_REPORTS = 50


@dataclass(frozen=True)
class Upload:
    """A visitor's own labelled set."""

    token: str
    """Names it when a validation is started; cannot be guessed."""
    count: int
    refused: Sequence[Refused]


class ValidationDesk:
    """What the page and the API call. Safe for use by several threads.

    Args:
        service: Has the models.
        sample: Photos and labels of the small file that is there from the first start.
    """

    def __init__(self, service: Service, sample: Sequence[tuple[Path, int]]) -> None:
        self._service = service
        self._sample = sample
        self._jobs = JobRegistry()
        self._folder = service.settings.lmdb_dir or service.settings.cache_dir / "lmdb"
        self._uploads: OrderedDict[str, Path] = OrderedDict()
        self._upload_folder: tempfile.TemporaryDirectory[str] | None = None
        self._report_folder: tempfile.TemporaryDirectory[str] | None = None
        self._lock = threading.Lock()

    def files(self) -> list[str]:
        """Names that a validation may be started on; the sample is built where it is missing."""
        self._make_sample()
        if not self._folder.is_dir():
            return []
        found = [
            path.name
            for path in sorted(self._folder.iterdir())
            if not path.name.startswith(".") and (path.suffix in (".lmdb", ".mdb") or (path / "data.mdb").is_file())
        ]
        return sorted(found, key=lambda name: name == SAMPLE)

    def upload(self, zip_file: Path) -> Upload:
        """Build a visitor's zip of class-named folders into a file of their own; the oldest uploads make room.

        Raises:
            UsageError: It is too large, or not laid out so.
            DataError: It is damaged.
            Busy: There is no room for it now.
        """
        from .uploads import build_from_zip

        settings = self._service.settings
        token = secrets.token_urlsafe(16)
        with self._lock:
            if self._upload_folder is None:
                self._upload_folder = tempfile.TemporaryDirectory(prefix="lowrank-uploads-")
            target = Path(self._upload_folder.name) / f"upload-{secrets.token_hex(8)}.lmdb"
        try:
            built = build_from_zip(
                zip_file,
                target,
                max_file_mb=settings.max_file_mb,
                max_zip_mb=settings.max_zip_mb,
                threads=settings.threads,
            )
        except (OSError, NotWritten) as error:
            raise Busy("The set could not be kept here, because the server's disk is full; try again later.") from error
        with self._lock:
            self._uploads[token] = target
            oldest = next(iter(self._uploads)) if len(self._uploads) > _MOST_UPLOADS else None
        if oldest:
            self._forget(oldest)
        timer = threading.Timer(_UPLOAD_SECONDS, self._forget, [token])
        timer.daemon = True
        timer.start()
        return Upload(token, built.count, built.refused)

    def start(self, file: str, models: Sequence[str]) -> str:
        """Start a validation, or put it in the queue; returns the job's id.

        Args:
            file: One of :meth:`files`, or an upload's token.
            models: Ids.

        Raises:
            UsageError: The file is not on offer, or a model is not known, or none is named.
            Busy: Too many validations are waiting.
        """
        path = self._path(file)
        cards = list(dict.fromkeys(self._service.zoo.get(model) for model in models))
        if not cards:
            raise UsageError("No model was chosen; expected at least one.")
        title = "your photos" if file in self._uploads else path.name
        return self._jobs.submit(title, lambda job: self._run(job, path, cards))

    def status(self, job_id: str) -> JobStatus:
        """A job at this moment.

        Raises:
            UnknownJob: There is none with this id.
        """
        return self._jobs.status(job_id)

    def report_files(self, job_id: str) -> tuple[Path | None, ...]:
        """The report of a validation that ended, as CSV, JSON and HTML; None for each where there is no report.

        Raises:
            UnknownJob: There is none with this id.
        """
        status = self.status(job_id)
        report = status.report
        # Where the disk is full, the page shows the report all the same.
        with suppress(OSError):
            if status.finished and report and report.count:
                return self._written(job_id, report)
        return None, None, None

    def _written(self, job_id: str, report: Report) -> tuple[Path, ...]:
        """Written once, in a folder named by the job's id, which is a secret; the oldest folders make room."""
        from ..charts.report_page import report_page

        texts = {"csv": report_csv, "json": dump_json, "html": lambda report: report_page(report, self._service.zoo)}
        with self._lock:
            if self._report_folder is None:
                self._report_folder = tempfile.TemporaryDirectory(prefix="lowrank-reports-")
            folder = Path(self._report_folder.name) / job_id
            folder.mkdir(mode=0o700, exist_ok=True)
            for old in sorted(folder.parent.iterdir(), key=lambda path: path.stat().st_mtime)[:-_MOST_REPORTS]:
                shutil.rmtree(old, ignore_errors=True)
            files = tuple(folder / f"{Path(report.file).stem}-validation.{kind}" for kind in texts)
            for file, text in zip(files, texts.values(), strict=True):
                if not file.exists():
                    with atomic_write(file) as temporary:
                        temporary.write_text(text(report), encoding="utf-8")
        return files

    def cancel(self, job_id: str) -> None:
        """Stop a job.

        Raises:
            UnknownJob: There is none with this id.
        """
        self._jobs.cancel(job_id)

    def _forget(self, token: str) -> None:
        """Delete an upload; a validation that reads it goes on."""
        with self._lock:
            path = self._uploads.pop(token, None)
        if path:
            for part in path.parent.glob(f"{path.name}*"):
                part.unlink(missing_ok=True)

    def _path(self, file: str) -> Path:
        """The file that a visitor means: a name on offer or an upload, never a path."""
        upload = self._uploads.get(file)
        if upload:
            return upload
        names = self.files()
        if file not in names:
            raise UsageError(f"There is no file {file[:80]!r} here; expected one of: {', '.join(names) or 'none'}.")
        return self._folder / file

    def _run(self, job: Job, path: Path, cards: Sequence[ModelCard]) -> Report:
        from ..validate.run import open_validation

        def downloading(download: DownloadProgress) -> None:
            if job.cancelled:
                raise LowRankError("The validation was cancelled.")
            job.doing(download.text)

        job.doing("loading the models")
        with open_validation(self._service, path, cards, batch_size=_BATCH, on_download=downloading) as run:
            for progress in run:
                job.show(progress, run.results())
                if job.cancelled:
                    break
            return run.report()

    def _make_sample(self) -> None:
        target = self._folder / SAMPLE
        # A folder of the user's own that cannot be written simply has no sample.
        with self._lock, suppress(LowRankError, OSError):
            if not target.exists():
                with LmdbWriter(target) as writer:
                    for path, label in self._sample:
                        writer.put(Record(path.read_bytes(), label))
