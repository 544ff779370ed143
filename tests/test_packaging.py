"""The wheel, built from the sdist, installed into an environment of its own and used from another folder."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import sysconfig
import tarfile
import time
import urllib.request
import venv
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Installation:
    """A virtual environment with the wheel in it."""

    sdist: Path
    wheel: Path
    folder: Path

    @property
    def bin(self) -> Path:
        return self.folder / ("Scripts" if sys.platform == "win32" else "bin")

    def run(self, *command: str | Path) -> subprocess.CompletedProcess[str]:
        """Run a program of the environment outside the repository."""
        return subprocess.run(
            [self.bin / command[0], *command[1:]],
            cwd=self.folder,
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )


def environment(**changes: str) -> dict[str, str]:
    """Return this process's variables without those that would make the repository importable."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    # Pillow starts faster than DALI.
    return {**kept, "LOWRANK_DECODER": "pillow", **changes}


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    folder = tmp_path_factory.mktemp("packaging")
    source = folder / "source"
    # From a copy, because setuptools leaves files in the folder that it builds, and puts old ones into the next wheel.
    for name in ("lowrank_demo", "assets", "tests"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "MANIFEST.in", "README.md", "requirements.txt", "LICENSE"):
        shutil.copy(ROOT / name, source)
    subprocess.run(
        [sys.executable, "-c", f"from setuptools import build_meta; build_meta.build_sdist({str(folder)!r})"],
        cwd=source,
        check=True,
        capture_output=True,
    )
    (sdist,) = folder.glob("*.tar.gz")
    build = ["wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, sdist]
    pip([sys.executable, "-m", "pip"], *build)
    (wheel,) = folder.glob("*.whl")
    shutil.rmtree(source)

    installed = Installation(sdist, wheel, folder / "environment")
    venv.create(installed.folder, symlinks=sys.platform != "win32")
    own = installed.run("python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").stdout.strip()
    # The dependencies are those of this environment. Python follows no .pth file of a folder that a .pth file names, so
    # that an editable installation of the repository is not found.
    shared = dict.fromkeys([sysconfig.get_path("purelib"), sysconfig.get_path("platlib")])
    (Path(own) / "dependencies.pth").write_text("\n".join(shared) + "\n")
    pip([installed.bin / "python", "-m", "pip"], "install", "--no-deps", "--no-index", "--ignore-installed", wheel)
    return installed


def pip(command: list[str | Path], *arguments: str | Path) -> None:
    done = subprocess.run(
        [*command, "--disable-pip-version-check", *arguments],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_sdist_holds_no_tests(installation: Installation) -> None:
    with tarfile.open(installation.sdist) as sdist:
        folders = {Path(name).parts[1] for name in sdist.getnames() if "/" in name}
    assert {"lowrank_demo", "assets", "pyproject.toml", "requirements.txt"} <= folders
    assert "tests" not in folders


def test_the_wheel_holds_the_package_and_its_assets_alone(installation: Installation) -> None:
    names = {name for name in zipfile.ZipFile(installation.wheel).namelist() if ".dist-info/" not in name}
    package = (path for path in (ROOT / "lowrank_demo").rglob("*") if path.is_file() and path.suffix != ".md")
    assets = [path for path in (ROOT / "assets").rglob("*") if path.is_file() and "preview" not in path.parts]
    assert names == {path.relative_to(ROOT).as_posix() for path in package if path.suffix != ".pyc"} | {
        f"lowrank_demo/{path.relative_to(ROOT).as_posix()}"
        for path in assets
        if path.name not in ("screenshot.png", "rail.webp")
    }
    assert {"lowrank_demo/assets/zoo.json", "lowrank_demo/assets/style.css", "lowrank_demo/py.typed"} <= names


def test_the_installed_package_is_the_one_that_runs(installation: Installation) -> None:
    done = installation.run(
        "python", "-c", "import lowrank_demo, sys; print(lowrank_demo.__file__, *sys.path, sep='\\n')"
    )
    assert done.returncode == 0, done.stderr
    file, *path = done.stdout.splitlines()
    assert Path(file).is_relative_to(installation.folder)
    assert str(ROOT) not in path


def test_models(installation: Installation) -> None:
    done = installation.run("python", "-m", "lowrank_demo", "models")
    assert done.returncode == 0, done.stderr
    assert "published/scheme_1/v1" in done.stdout
    assert "bundled" in next(line for line in done.stdout.splitlines() if line.startswith("bundled/scheme_2/v5"))


def test_the_console_script(installation: Installation) -> None:
    helped = installation.run("lowrank-demo", "--help")
    assert helped.returncode == 0, helped.stderr
    assert helped.stdout.startswith("usage: lowrank-demo")
    assert "validate" in helped.stdout
    cat = ROOT / "assets" / "examples" / "cat.jpg"
    classified = installation.run("lowrank-demo", "classify", cat)
    assert classified.returncode == 0, classified.stderr
    assert "[n02124075]" in classified.stdout  # Egyptian cat


def test_the_app(installation: Installation, tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with served(installation, port, tmp_path / "log") as url:
        page = urllib.request.urlopen(url, timeout=10).read()
        assert b"Low-rank AlexNet" in page
        style = (ROOT / "assets" / "style.css").read_text(encoding="utf-8")
        assert style.splitlines()[0].encode() in page


@contextmanager
def served(installation: Installation, port: int, log: Path) -> Iterator[str]:
    """Run ``python -m lowrank_demo app`` and yield its address once it answers."""
    url = f"http://127.0.0.1:{port}/"
    with log.open("w") as output:
        process = subprocess.Popen(
            [installation.bin / "python", "-m", "lowrank_demo", "app"],
            cwd=installation.folder,
            env=environment(GRADIO_SERVER_PORT=str(port)),
            stdout=output,
            stderr=output,
        )
    try:
        deadline = time.monotonic() + 120
        while True:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            try:
                urllib.request.urlopen(url, timeout=2).close()
            except OSError:
                time.sleep(0.1)
            else:
                break
        yield url
    finally:
        process.terminate()
        process.wait(60)
