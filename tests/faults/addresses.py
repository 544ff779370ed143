"""Asks the app for a public address in every way; run in a network namespace, where that address is this machine's.

``python -m tests.faults.addresses FOLDER`` needs ``unshare -n`` around it. It prints what reached the address, and what
the app answered, as JSON. A second argument says that the extra ``mcp`` is there.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from tests.helpers.app import RunningApp, running_app

ADDRESS, PORT = "1.2.3.4", 9000
URL = f"http://{ADDRESS}:{PORT}/remote.jpg"
MODEL = "bundled/scheme_2/v5"


def listen(reached: list[str]) -> None:
    """Note every connection to the address, and serve a page of HTML there."""
    server = socket.create_server((ADDRESS, PORT))
    while True:
        line, _ = server.accept()
        with line:
            reached.append(line.recv(2000).decode(errors="replace").split("\r\n")[0])
            line.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 8\r\n\r\n<script>")


def file_routes() -> Iterator[str]:
    """Yield every path that might stand for an address."""
    https, upper = URL.replace("http:", "https:"), URL.replace("http", "HTTP")
    for address in (
        URL,
        https,
        upper,
        URL.replace("//", "/"),
        URL.replace(":", "%3A"),
        "%68" + URL[1:],
        "//" + URL[7:],
    ):
        for route in ("/gradio_api/file=", "/file=", "/gradio_api/file/", "/gradio_api/proxy=", "/proxy=", "/static/"):
            yield f"{route}{address}"


def file(path: str = URL, **more: object) -> dict[str, Any]:
    """Return what Gradio takes for an uploaded file."""
    return {"path": path, "meta": {"_type": "gradio.FileData"}, **more}


def values() -> list[Any]:
    """Return values of a component that hold the address."""
    photo = {"image": file(), "caption": None}
    unmarked = {"image": {"path": URL, "url": URL}, "caption": None}
    alone: list[Any] = [URL, file(), file("x.jpg", url=URL), {"value": file()}, photo, unmarked]
    return [*alone, *([one] for one in alone), [[URL]], [[file()]]]


def ask(app: RunningApp) -> list[str]:
    """Ask for the address by every route, endpoint and listener; return the answers."""
    answers: list[str] = []
    with httpx.Client(base_url=app.url, timeout=60) as http:
        for path in file_routes():
            for method in ("GET", "HEAD"):
                answer = http.request(method, path)
                answers.append(f"{method} {path}: {answer.status_code} {answer.headers.get('content-type')}")
        for endpoint in ("call/classify", "call/v2/classify", "run/classify", "api/classify", "run/validate"):
            for value in values():
                body: dict[str, Any] = {"data": [value, MODEL]}
                if "v2" in endpoint:
                    body = {"files": value, "model": MODEL}
                answer = http.post(f"/gradio_api/{endpoint}", json=body)
                text = answer.text
                if "event_id" in text:
                    text = http.get(f"/gradio_api/call/classify/{answer.json()['event_id']}").text
                answers.append(f"{endpoint}: {text}")
        for number, listener in enumerate(http.get("/config").json()["dependencies"]):
            if listener["inputs"] and listener["backend_fn"]:
                for value in values():
                    answers.append(f"{listener['id']}: {join(http, number, [value] * len(listener['inputs']))}")
    return answers


def join(http: httpx.Client, number: int, data: list[Any]) -> str:
    """Ask a listener of the page, as the page does."""
    session = f"s{number}"
    asked = {"data": data, "fn_index": number, "session_hash": session, "trigger_id": None, "event_data": None}
    joined = http.post("/gradio_api/queue/join", json=asked)
    if joined.status_code != 200:
        return joined.text
    with http.stream("GET", f"/gradio_api/queue/data?session_hash={session}") as stream:
        for line in stream.iter_lines():
            if "process_completed" in line:
                return line[:300]
    return ""


def tools(http: httpx.Client) -> list[str]:
    """Call the tool that takes photos, with a forged host too."""
    answers: list[str] = []
    accept = "application/json, text/event-stream"
    for host in (http.base_url.netloc.decode(), f"{ADDRESS}:{PORT}"):
        for sent in (*values(), [URL.upper()], [f"{URL}/gradio_api/file=/tmp/x.jpg"]):
            call = {"name": "classify", "arguments": {"files": sent, "model": MODEL}}
            asked = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}
            headers = {"Accept": accept, "Host": host, "X-Forwarded-Host": host}
            answers.append(f"tool: {http.post('/gradio_api/mcp/', json=asked, headers=headers).text}")
    return answers


def main() -> None:
    """Start the app and ask."""
    folder = Path(sys.argv[1])
    for command in ("ip link set lo up", f"ip addr add {ADDRESS}/32 dev lo"):
        subprocess.run(command.split(), check=True)
    reached: list[str] = []
    threading.Thread(target=listen, args=[reached], daemon=True).start()
    environment = {"LOWRANK_CACHE_DIR": str(folder / "cache"), "GRADIO_TEMP_DIR": str(folder / "uploads")}
    with running_app(environment, folder / "log") as app:
        answers = ask(app)
        with httpx.Client(base_url=app.url, timeout=60) as http:
            answers += tools(http) if sys.argv[2:] else []
        print(json.dumps({"answers": answers, "reached": reached}))


if __name__ == "__main__":
    main()
