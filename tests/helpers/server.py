"""A real HTTP server for files, which can misbehave."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class FileServer:
    """A real HTTP server for one folder that honours ranges, counts requests and can misbehave."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.requests: list[tuple[str, str | None]] = []
        self.cut_after: int | None = None
        """Close the connection after so many bytes of a body."""
        self.stall_after: int | None = None
        """Keep the connection open and send nothing more after so many bytes of a body."""
        self.seconds_for_each_mb = 0.0
        self.ignore_ranges = False
        self.headers: dict[str, str] = {}
        self.closing = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, self))
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()


class _Handler(SimpleHTTPRequestHandler):
    def __init__(self, owner: FileServer, *args: object) -> None:
        self.owner = owner
        super().__init__(*args, directory=str(owner.folder))  # pyright: ignore[reportArgumentType]

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.owner.requests.append((self.path, wanted))
        path = self.owner.folder / self.path.lstrip("/").split("?")[0]
        if not path.is_file():
            self.send_error(404)
            return
        data = path.read_bytes()
        match = re.fullmatch(r"bytes=(\d+)-", wanted or "")
        start = int(match[1]) if match and not self.owner.ignore_ranges else 0
        if start >= len(data) > 0:
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(data) - start))
        for name, value in self.owner.headers.items():
            self.send_header(name, value)
        self.end_headers()
        limits = [start + n for n in (self.owner.cut_after, self.owner.stall_after) if n is not None]
        end = min([len(data), *limits])
        for at in range(start, end, 1_000_000):
            self.wfile.write(data[at : min(end, at + 1_000_000)])
            time.sleep(self.owner.seconds_for_each_mb)
        if self.owner.stall_after is not None:
            self.owner.closing.wait()
        self.close_connection = True

    def handle(self) -> None:
        # The other side may leave whenever it likes.
        with contextlib.suppress(ConnectionError):
            super().handle()

    def log_message(self, format: str, *args: object) -> None:
        pass
