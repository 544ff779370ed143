"""Resizing: ImageMagick's sizes, resumable, atomic; EXIF data and colour profile are kept."""

from __future__ import annotations

import io
import math
import shutil
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lowrank_demo.data.resize import FolderResize, imagemagick_size, resize_bytes
from lowrank_demo.errors import ImageError, UsageError
from tests.helpers.photos import encoded, open_photo, photo_path


def imagemagick() -> str | None:
    for name in ("magick", "/usr/bin/convert", "convert"):
        path = shutil.which(name)
        if path:
            version = subprocess.run([path, "-version"], capture_output=True, text=True, check=False).stdout
            if "ImageMagick" in version:
                return path
    return None


def psnr(a: Image.Image, b: Image.Image) -> float:
    error = np.mean((np.asarray(a.convert("RGB"), float) - np.asarray(b.convert("RGB"), float)) ** 2)
    return math.inf if error == 0 else 10 * math.log10(255**2 / float(error))


@pytest.mark.skipif(imagemagick() is None, reason="ImageMagick is not installed")
def test_against_imagemagick(tmp_path: Path, record_property) -> None:
    photos = [open_photo("tower.jpg"), open_photo("cheetah.jpg"), open_photo("groot.jpeg")]
    sizes = [(500, 375), (375, 500), (333, 500), (257, 1999), (4000, 3001), (301, 256), (120, 90), (255, 255)]
    worst = math.inf
    for i, size in enumerate(sizes):
        source, target = tmp_path / f"{i}.jpg", tmp_path / f"{i}-im.jpg"
        photos[i % 3].resize(size).save(source, quality=95)
        command = [str(imagemagick()), str(source), "-resize", "256x256^", "-quality", "92", str(target)]
        subprocess.run(command, check=True)
        theirs, ours = Image.open(target), Image.open(io.BytesIO(resize_bytes(source.read_bytes())))
        assert ours.size == theirs.size, size
        worst = min(worst, psnr(ours, theirs))
    record_property("worst PSNR against ImageMagick, dB", round(worst, 1))
    print(f"worst PSNR against ImageMagick: {worst:.1f} dB")
    assert worst > 34


def test_many_sizes_follow_imagemagicks_rule() -> None:
    """The rule of ``-resize 256x256^``: the shorter edge is 256, the other keeps the ratio, halves round up."""
    rng = np.random.default_rng(0)
    for width, height in rng.integers(1, 5000, (500, 2)).tolist():
        found = imagemagick_size(width, height)
        assert min(found) == 256
        scale = 256 / min(width, height)
        assert abs(max(found) - max(width, height) * scale) <= 0.5


def make_folder(root: Path) -> Path:
    for name in ("a.jpg", "deep/er/b.JPEG", "c.png"):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        open_photo("tower.jpg").save(path)
    open_photo("tower.jpg").resize((300, 256)).save(root / "done.jpg")
    (root / "text.jpg").write_text("no photo")
    (root / "notes.txt").write_text("left alone")
    return root


def test_folder_to_folder_and_again(tmp_path: Path) -> None:
    source, target = make_folder(tmp_path / "in"), tmp_path / "out"
    first = FolderResize(source, target, threads=2)
    progress = list(first)
    assert progress[-1].done == progress[-1].total == 5
    assert [item.path.name for item in first.refused] == ["text.jpg"]
    assert first.skipped == 0
    for name in ("a.jpg", "deep/er/b.JPEG", "c.png"):
        assert Image.open(target / name).size == (256, 407)
    assert (target / "done.jpg").read_bytes() == (source / "done.jpg").read_bytes(), "no second compression"
    assert sorted(p.name for p in target.rglob("*") if p.is_file()) == ["a.jpg", "b.JPEG", "c.png", "done.jpg"]
    times = {p: p.stat().st_mtime_ns for p in target.rglob("*")}
    again = FolderResize(source, target, threads=2)
    list(again)
    assert again.skipped == 4
    assert times == {p: p.stat().st_mtime_ns for p in target.rglob("*")}
    time.sleep(0.01)
    open_photo("lion.jpg").resize((512, 512)).save(source / "a.jpg")
    list(FolderResize(source, target))
    assert Image.open(target / "a.jpg").size == (256, 256), "a changed photo is resized again"


def test_stopped_in_the_middle(tmp_path: Path) -> None:
    source, target = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    for i in range(40):
        open_photo("tower.jpg").save(source / f"{i}.jpg")
    for progress in FolderResize(source, target):
        if progress.done == 5:
            break
    done = list(target.glob("*.jpg"))
    assert 5 <= len(done) < 40
    for path in done:
        Image.open(path).load()
    resumed = FolderResize(source, target)
    list(resumed)
    assert resumed.skipped == len(done)
    assert len(list(target.iterdir())) == 40


def test_in_place(tmp_path: Path) -> None:
    source = make_folder(tmp_path / "in")
    first = FolderResize(source, source)
    list(first)
    assert first.skipped == 1
    assert Image.open(source / "a.jpg").size == (256, 407)
    again = FolderResize(source, source)
    list(again)
    assert again.skipped == 4


def test_exif_and_profile_are_kept() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    profile = Image.open(photo_path("tower.jpg")).info.get("icc_profile") or b"profile"
    data = encoded(open_photo("tower.jpg"), "JPEG", exif=exif, icc_profile=profile, subsampling=0)
    resized = Image.open(io.BytesIO(resize_bytes(data)))
    assert resized.getexif()[0x0112] == 6
    assert resized.size == (256, 407), "pixels are not rotated: the orientation tag still applies"
    assert resized.info["icc_profile"] == profile
    from PIL import JpegImagePlugin

    assert JpegImagePlugin.get_sampling(resized) == 0


@pytest.mark.parametrize("mode", ["L", "CMYK", "RGB"])
def test_colour_modes_are_kept(mode: str) -> None:
    resized = Image.open(io.BytesIO(resize_bytes(encoded(open_photo("tower.jpg").convert(mode), "JPEG"))))
    assert (resized.mode, resized.format) == (mode, "JPEG")


def test_bad_requests_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no folder"):
        FolderResize(tmp_path / "nowhere", tmp_path / "out")
    with pytest.raises(UsageError, match="no images"):
        FolderResize(tmp_path, tmp_path.parent / "out")
    with pytest.raises(UsageError, match="lies inside"):
        FolderResize(tmp_path, tmp_path / "out")
    with pytest.raises(ImageError):
        resize_bytes(encoded(open_photo("tower.jpg"), "JPEG")[:-500])
