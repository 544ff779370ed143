"""Places for results: checked before the work, devices and pipes written to, links followed, nothing overwritten."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from lowrank_demo.errors import NotWritten, UsageError
from lowrank_demo.runtime.outputs import Output, check_folder, output_file
from tests.helpers.paths import ROOT

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs devices and pipes")

WRITE = """
import sys
from pathlib import Path
from lowrank_demo.runtime.outputs import Output
print("before")
Output.checked(Path(sys.argv[1])).write("text\\n")
print("after")
"""


def test_a_file_is_made_or_replaced(tmp_path: Path) -> None:
    path = tmp_path / "report"
    for text in ("first, longer", "second"):
        output = Output.checked(path)
        assert list(tmp_path.iterdir()) == [path] * (text == "second"), "the check leaves nothing behind"
        output.write(text)
        assert path.read_text() == text


def test_a_link_is_followed(tmp_path: Path) -> None:
    for name, target in (("there", tmp_path / "old"), ("dangling", tmp_path / "new")):
        (tmp_path / "old").write_text("old")
        (tmp_path / name).symlink_to(target.name)
        Output.checked(tmp_path / name).write("text")
        assert (tmp_path / name).is_symlink()
        assert target.read_text() == "text"


def test_a_device_stays_one(tmp_path: Path) -> None:
    device = tmp_path / "null"
    try:
        os.mknod(device, stat.S_IFCHR | 0o666, os.makedev(1, 3))  # a second /dev/null, in case it is replaced
    except PermissionError:
        pytest.skip("only root makes devices")
    Output.checked(device).write("text")
    assert stat.S_ISCHR(device.stat().st_mode)


def test_a_pipe_stays_one(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()))
    reader.start()
    Output.checked(pipe).write("text" * 100_000)
    reader.join(20)
    assert read == ["text" * 100_000]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


@pytest.mark.parametrize("name", ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
@pytest.mark.parametrize("piped", [True, False])
def test_standard_output(tmp_path: Path, name: str, piped: bool) -> None:
    file = tmp_path / "printed"
    command = [sys.executable, "-c", WRITE, name]
    if piped:
        printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    else:
        with file.open("w") as opened:
            subprocess.run(command, cwd=ROOT, stdout=opened, check=True)
        printed = file.read_text()
    assert printed == "before\ntext\nafter\n"


def test_what_a_shell_substitutes(tmp_path: Path) -> None:
    counted = tmp_path / "counted"
    script = f'"$0" -c "$1" >(tr t T > "{counted}") ; wait $!'
    subprocess.run(["bash", "-c", script, sys.executable, WRITE], cwd=ROOT, check=True, timeout=60)
    assert counted.read_text() == "TexT\n"


def test_a_full_device_is_found_when_it_is_written(tmp_path: Path) -> None:
    output = Output.checked(Path("/dev/full"))
    with pytest.raises(NotWritten, match=r"^/dev/full could not be written \(No space left on device\)"):
        output.write("text")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("folder", "folder is a folder; expected the name of a file"),
        ("none/report", "There is no folder .*none for report; create it first"),
        ("file/report", "There is no folder .*file for report"),
        ("circle", "circle cannot be written"),
        ("n" * 300, "File name too long"),
        ("n" * 253, "File name too long"),
        ("/proc/report", "cannot be written .*choose another place"),
        ("/dev/fd/77", "cannot be written \\(Bad file descriptor\\)"),
    ],
)
def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path, name: str, sentence: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "circle").symlink_to("circle")
    with pytest.raises(UsageError, match=sentence):
        Output.checked(tmp_path / name)


def test_a_file_to_rename_over_is_no_device(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="null is a device or a pipe; expected the name of a file"):
        output_file(Path("/dev/null"))
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match="pipe is a device or a pipe"):
        output_file(tmp_path / "pipe")
    assert output_file(tmp_path / "new" / "file") == tmp_path / "new" / "file", "the folder is made"


def test_a_folder_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"cannot be written \(Not a directory\); choose another place"):
        check_folder(tmp_path / "file" / "folder", tmp_path / "file" / "folder")


def test_a_name_in_another_encoding_is_escaped(tmp_path: Path) -> None:
    Output.checked(tmp_path / "report").write("caf\udce9 λ")
    assert (tmp_path / "report").read_text(encoding="utf-8") == "caf\\udce9 λ"
