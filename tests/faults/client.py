"""A program that talks to the app over plain HTTP, as gradio_client does, so that many cost little."""

from __future__ import annotations

import json
import re
import secrets
from types import TracebackType
from typing import Any

import httpx


class Refused(Exception):
    """The server's own sentence."""


class ApiClient:
    """One visitor. A context manager."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._http = httpx.Client(base_url=f"{url}/gradio_api", timeout=120)

    def __enter__(self) -> ApiClient:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._http.close()

    def upload(self, name: str, data: bytes) -> str:
        """The path that the server gave to an uploaded file."""
        answer = self._http.post("/upload", files={"files": (name, data)})
        if answer.status_code != 200:
            raise Refused(answer.text)
        return answer.json()[0]

    def classify_path(self, path: str, model: str = "") -> dict[str, Any]:
        """The answer for a path; whatever it is, it is sent as an uploaded file's."""
        file = {"path": path, "meta": {"_type": "gradio.FileData"}}
        return self.call("classify", [file], model)[0]

    def classify(self, data: bytes, model: str = "") -> dict[str, Any]:
        """The answer for one photo."""
        return self.classify_path(self.upload("photo.jpg", data), model)

    def press(self, handler: str, file: dict[str, str]) -> dict[str, Any]:
        """Start one of the page's own handlers, which no API offers, with an uploaded file; returns what cancels it."""
        config = self._http.get(f"{self._url}/config").json()
        (found,) = (one for one in config["dependencies"] if one["api_name"] == handler)
        data = [{**file, "meta": {"_type": "gradio.FileData"}}, *[""] * (len(found["inputs"]) - 1)]
        listener = {"fn_index": found["id"], "session_hash": "test"}
        started = self._http.post("/queue/join", json={"data": data, **listener})
        assert started.status_code == 200, started.text
        return {**listener, "event_id": started.json()["event_id"]}

    def answer_to(self, handler: str, file: dict[str, str]) -> str:
        """What one of the page's own handlers, which no API offers, answers to an uploaded file, as Gradio sends it."""
        session = self.press(handler, file)["session_hash"]
        return self._http.get("/queue/data", params={"session_hash": session}).text

    def listen(self, listener: int, data: str) -> str:
        """What one of the page's own listeners answers, as Gradio sends it; ``data`` is JSON."""
        session = secrets.token_hex(6)
        body = f'{{"data": {data}, "fn_index": {listener}, "session_hash": "{session}"}}'
        headers = {"Content-Type": "application/json"}
        started = self._http.post("/queue/join", content=body, headers=headers)
        if started.status_code != 200:
            return started.text
        return self._http.get("/queue/data", params={"session_hash": session}).text

    def call(self, endpoint: str, *arguments: object) -> Any:
        """Any endpoint's answer.

        Raises:
            Refused: With what the server said.
        """
        started = self._http.post(f"/call/{endpoint}", json={"data": list(arguments)})
        if started.status_code != 200:
            raise Refused(started.text)
        stream = self._http.get(f"/call/{endpoint}/{started.json()['event_id']}").text
        found = re.search(r"event: (complete|error)\ndata: (.*)", stream)
        assert found, stream
        if found[1] == "error":
            raise Refused(found[2])
        return json.loads(found[2])[0]
