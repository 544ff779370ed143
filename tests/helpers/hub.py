"""A stand-in for the Hub: the part of its API that uploads and downloads use, with the redirect to where bytes are."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class StandInHub(ThreadingHTTPServer):
    """The part of the Hub's API that uploads and downloads use: create, preupload, LFS, commit, resolve."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.created: list[dict[str, Any]] = []
        self.files: dict[str, bytes] = {}
        self.objects: dict[str, bytes] = {}
        self.tokens: set[str] = set()
        self.refuses = False
        self.states_digests = True
        self.stated = ""
        """A digest to state in place of the file's own."""
        self.tokens_at_cdn: set[str] = set()
        self.starts: list[int] = []
        """Where each download of bytes began."""
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: StandInHub  # pyright: ignore[reportIncompatibleVariableOverride]

    def log_message(self, format: str, *args: object) -> None:
        """Silence."""

    def answer(self, value: object, status: int = 200) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def do_PUT(self) -> None:
        data = self.body()
        self.server.objects[hashlib.sha256(data).hexdigest()] = data
        self.answer({})

    def do_POST(self) -> None:
        hub, data = self.server, self.body()
        hub.tokens.add(self.headers.get("Authorization", ""))
        path = self.path.partition("?")[0]
        if hub.refuses:
            self.answer({"error": "this token may not write here"}, 403)
        elif path == "/api/repos/create":
            asked = json.loads(data)
            hub.created.append(asked)
            owner = asked.get("organization") or "somebody"
            kind = "spaces/" if asked.get("type") == "space" else ""
            self.answer({"url": f"{hub.url}/{kind}{owner}/{asked['name']}"})
        elif path.endswith("/preupload/main"):
            files = json.loads(data)["files"]
            modes = [
                {"path": f["path"], "uploadMode": "lfs" if f["size"] > 1_000_000 else "regular", "shouldIgnore": False}
                for f in files
            ]
            self.answer({"files": modes})
        elif path.endswith("/info/lfs/objects/batch"):
            objects = [
                {**o, "actions": {"upload": {"href": f"{hub.url}/lfs/{o['oid']}"}}} for o in json.loads(data)["objects"]
            ]
            self.answer({"transfer": "basic", "objects": objects})
        elif path.endswith("/commit/main"):
            for line in data.splitlines():
                entry = json.loads(line)
                if entry["key"] == "file":
                    hub.files[entry["value"]["path"]] = base64.b64decode(entry["value"]["content"])
                elif entry["key"] == "lfsFile":
                    hub.files[entry["value"]["path"]] = hub.objects[entry["value"]["oid"]]
            repo = path.removeprefix("/api/").removeprefix("models/").removesuffix("/commit/main")
            self.answer({"commitUrl": f"{hub.url}/{repo}/commit/{'0' * 40}", "commitOid": "0" * 40})
        else:
            self.answer({"errors": [], "warnings": []})

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        """Answer for a file as the Hub does: state its digest, and redirect to another host, which states none."""
        hub = self.server
        place, _, name = self.path.partition("?")[0].partition("/resolve/")
        if place == "/cdn":
            hub.tokens_at_cdn.add(self.headers.get("Authorization", ""))
            self.bytes_of(hub.files[name])
            return
        data = hub.files.get(name.partition("/")[2])
        if data is None:
            self.send_response(404)
            self.send_header("X-Error-Code", "EntryNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        hub.tokens.add(self.headers.get("Authorization", ""))
        body = b"Found. Redirecting."
        self.send_response(302)
        self.send_header(
            "Location", f"http://localhost:{hub.server_port}/cdn/resolve/{name.partition('/')[2]}?signed=1"
        )
        self.send_header("X-Repo-Commit", "0" * 40)
        self.send_header("X-Linked-Size", str(len(data)))
        if hub.states_digests:
            self.send_header("X-Linked-ETag", f'"{hub.stated or hashlib.sha256(data).hexdigest()}"')
        self.send_header("ETag", '"git-hash-of-the-pointer"')
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def bytes_of(self, data: bytes) -> None:
        """Send a file, or the part of it that is asked for."""
        found = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(found[1]) if found else 0
        self.server.starts.append(start)
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data[start:])
