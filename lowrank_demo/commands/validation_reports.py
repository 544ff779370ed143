"""Where ``validate`` writes its reports, and what happens if one cannot be written."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from ..errors import NotWritten, UsageError
from ..runtime.outputs import STDOUT, Output

if TYPE_CHECKING:
    from ..models.zoo import Zoo
    from ..validate.report import Report


@dataclass(frozen=True)
class Reports:
    """Where the reports go; None for one that was not asked for."""

    json: Output | None
    csv: Output | None
    html: Output | None

    @classmethod
    def checked(cls, file: Path, json: Path | None, csv: Path | None, html: Path | None) -> Reports:
        """Return the places that the options name.

        Args:
            file: The labelled file.
            json: What ``--json`` names, if it is given.
            csv: What ``--csv`` names.
            html: What ``--html`` names.

        Raises:
            UsageError: One cannot be written, or would overwrite another, the labelled file or its manifest.
        """
        from ..data.lmdb.manifest import manifest_path

        taken: dict[Path | int, str] = {one.resolve(): "the labelled file" for one in (file, file / "data.mdb")}
        taken |= {manifest_path(one).resolve(): "the file's manifest" for one in (file, file.resolve())}
        outputs: dict[str, Output | None] = {}
        for kind, path in (("json", json), ("csv", csv), ("html", html)):
            output = outputs[kind] = Output.checked(path) if path else None
            # A device such as /dev/null takes any number of reports.
            if output and (output.is_file or isinstance(output.place, int)):
                if output.place in taken:
                    raise UsageError(f"--{kind} {path} would overwrite {taken[output.place]}; choose another place.")
                taken[output.place] = f"the report of --{kind}"
        return cls(**outputs)

    def write(self, report: Report, zoo: Zoo) -> list[str]:
        """Write the reports; return a sentence about each that could not be written."""
        from ..validate.report import dump_json, report_csv

        makers: list[tuple[Output | None, Callable[[], str]]] = [
            (self.json, lambda: dump_json(report) + "\n"),
            (self.csv, lambda: report_csv(report)),
            (self.html, lambda: _page(report, zoo)),
        ]
        failures: list[str] = []
        # Files first: a pipe may have no reader yet, or lose it.
        for output, make in sorted(makers, key=lambda item: item[0] is not None and not item[0].is_file):
            if output:
                try:
                    output.write(make())
                except NotWritten as error:
                    failures.append(str(error))
        return failures

    def table_stream(self) -> TextIO:
        """Return the stream for the table: standard error if a report goes to standard output."""
        reports = (self.json, self.csv, self.html)
        return sys.stderr if any(one and one.place == STDOUT for one in reports) else sys.stdout


def _page(report: Report, zoo: Zoo) -> str:
    from ..charts.report_page import report_page

    return report_page(report, zoo)
