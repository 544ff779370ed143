"""One commit of a public repository, fetched without its history and read without unpacking it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path


class NotFetched(Exception):
    """A commit cannot be fetched; the message says which one and why."""


class Snapshot:
    """One commit.

    Args:
        address: The repository's address.
        commit: The commit's full name.
        folder: An empty folder to fetch it into.

    Raises:
        NotFetched: The repository or the commit is not there, or the network fails.
    """

    def __init__(self, address: str, commit: str, folder: Path) -> None:
        self._git = ["git", "-C", str(folder)]
        self._commit = commit
        # git would ask for a name and a password where a repository is gone.
        environment = {**os.environ, "GIT_TERMINAL_PROMPT": "0"}
        subprocess.run([*self._git, "init", "--quiet", "--bare"], check=True)
        command = [*self._git, "fetch", "--quiet", "--depth", "1", address, commit]
        fetched = subprocess.run(command, env=environment, capture_output=True, text=True)
        if fetched.returncode:
            lines = fetched.stderr.strip().splitlines() or [f"git ended with {fetched.returncode}"]
            raise NotFetched(f"{address} at {commit[:12]} cannot be fetched: {lines[0]}")

    def files(self, paths: Iterable[str]) -> list[tuple[str, str]]:
        """Return the path and the content's name of every file below these folders; ``""`` is the whole repository."""
        command = [*self._git, "ls-tree", "-r", "-z", self._commit]
        listing = subprocess.run(command, check=True, capture_output=True).stdout
        wanted = tuple(f"{path}/" if path else "" for path in paths)
        found: list[tuple[str, str]] = []
        for entry in listing.split(b"\0")[:-1]:
            head, name = entry.split(b"\t", 1)
            mode, kind, content = head.decode().split()
            path = name.decode("utf-8", "surrogateescape")
            if kind == "blob" and mode != "120000" and path.startswith(wanted):  # no links
                found.append((path, content))
        return found

    def read(self, contents: Iterable[str]) -> Iterator[bytes]:
        """Yield what is in the files, given their contents' names."""
        command = [*self._git, "cat-file", "--batch"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            for content in contents:
                process.stdin.write(f"{content}\n".encode())
                process.stdin.flush()
                size = int(process.stdout.readline().split()[2])
                yield process.stdout.read(size)
                process.stdout.read(1)
