"""The page's own files, compressed once, behind Gradio's middleware that compresses everything."""

from __future__ import annotations

import asyncio
from pathlib import Path

import brotli
import httpx
import pytest
from gradio.brotli_middleware import BrotliMiddleware
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from lowrank_demo.serve.compression import Compression

SCRIPT = b"let a = 1;\n" * 500


class Site:
    """A site with a folder of scripts and an uploaded text."""

    def __init__(self, folder: Path) -> None:
        (folder / "a.js").write_bytes(SCRIPT)
        self.asked: list[dict[str, str]] = []
        self._files = StaticFiles(directory=folder)
        routes = [Mount("/assets", app=self._file), Route("/gradio_api/file=/x.txt", self._text)]
        # In the order in which Gradio has them.
        layers = [Middleware(BrotliMiddleware, quality=4), Middleware(Compression)]
        self._app = Starlette(routes=routes, middleware=layers)

    async def _file(self, scope, receive, send) -> None:
        self.asked.append(dict(Request(scope).headers))
        await self._files(scope, receive, send)

    async def _text(self, _: Request) -> Response:
        return PlainTextResponse(SCRIPT)

    def get(self, *paths: str, **headers: str) -> list[httpx.Response]:
        async def get() -> list[httpx.Response]:
            transport = httpx.ASGITransport(self._app)
            async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
                sent = {
                    "accept-encoding": "gzip, br",
                    **{name.replace("_", "-"): text for name, text in headers.items()},
                }
                return await asyncio.gather(*[client.get(path, headers=sent) for path in paths])

        return asyncio.run(get())


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_a_file_is_compressed_once_for_all(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    times: list[int] = []
    compress = brotli.compress
    monkeypatch.setattr(brotli, "compress", lambda data, **how: times.append(1) or compress(data, **how))
    first, *others = site.get(*["/assets/a.js"] * 5, range="bytes=0-9", if_none_match="x")
    assert len(times) == len(site.asked) == 1
    assert site.asked == [{}], "a visitor's headers do not decide what others get"
    for answer in (first, *others):
        assert (answer.status_code, answer.content, answer.headers["content-encoding"]) == (200, SCRIPT, "br")
        assert int(answer.headers["content-length"]) < len(SCRIPT) / 10
    (again,) = site.get("/assets/a.js", if_none_match=first.headers["etag"])
    assert (again.status_code, again.content) == (304, b"")


def test_nothing_else_is_compressed(site: Site) -> None:
    (upload,) = site.get("/gradio_api/file=/x.txt")
    assert (upload.content, upload.headers["content-encoding"]) == (SCRIPT, "identity")
    (plain,) = site.get("/assets/a.js", accept_encoding="gzip")
    assert (plain.content, plain.headers["content-encoding"]) == (SCRIPT, "identity")


def test_what_is_not_there_is_not_kept(site: Site) -> None:
    (missing,) = site.get("/assets/b.js")
    assert missing.status_code == 404
    (again,) = site.get("/assets/b.js")
    assert again.status_code == 404
