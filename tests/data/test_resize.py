"""Resizing: ImageMagick's sizes, resumable, atomic; EXIF data and colour profile are kept."""

from __future__ import annotations

import io
import math
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, JpegImagePlugin

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


def by_imagemagick(source: Path, target: Path, *options: str) -> Image.Image:
    subprocess.run([str(imagemagick()), str(source), "-resize", "256x256^", *options, str(target)], check=True)
    return Image.open(target)


@pytest.mark.skipif(imagemagick() is None, reason="ImageMagick is not installed")
@pytest.mark.parametrize("quality", [30, 75, 95])
def test_against_imagemagick_which_keeps_the_quality(tmp_path: Path, quality: int) -> None:
    photos = [open_photo("tower.jpg"), open_photo("cheetah.jpg"), open_photo("groot.jpeg")]
    sizes = [(500, 375), (375, 500), (333, 500), (257, 1999), (4000, 3001), (301, 256), (120, 90), (255, 255)]
    worst = math.inf
    for i, size in enumerate(sizes):
        source, target = tmp_path / f"{i}.jpg", tmp_path / f"{i}-im.jpg"
        photos[i % 3].resize(size).save(source, quality=quality, subsampling=(0, 1, 2)[i % 3])
        theirs = by_imagemagick(source, target)
        ours = Image.open(io.BytesIO(resize_bytes(source.read_bytes())))
        assert ours.size == theirs.size, size
        assert tables(ours) == tables(theirs), "the same quality"
        worst = min(worst, psnr(ours, theirs))
    print(f"worst PSNR against ImageMagick at quality {quality}: {worst:.1f} dB")
    assert worst > 35


@pytest.mark.skipif(imagemagick() is None, reason="ImageMagick is not installed")
def test_another_quality_against_imagemagick(tmp_path: Path) -> None:
    source = tmp_path / "source.jpg"
    open_photo("tower.jpg").save(source, quality=95)
    theirs = by_imagemagick(source, tmp_path / "theirs.jpg", "-quality", "60")
    ours = Image.open(io.BytesIO(resize_bytes(source.read_bytes(), quality=60)))
    assert tables(ours) == tables(theirs)
    assert psnr(ours, theirs) > 36


def tables(image: Image.Image) -> list[list[int]]:
    assert isinstance(image, JpegImagePlugin.JpegImageFile)
    return [list(table) for table in image.quantization.values()]


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


def test_done_means_made_from_this_source_with_these_settings(tmp_path: Path) -> None:
    source, target = make_folder(tmp_path / "in"), tmp_path / "out"

    def run(**options: int) -> tuple[int, int]:
        work = FolderResize(source, target, **options)
        list(work)
        return work.resized, work.skipped

    assert run() == (4, 0)
    assert run() == (0, 4)
    assert run(edge=300) == (4, 0), "another size"
    assert min(Image.open(target / "a.jpg").size) == 300
    assert run(edge=300, quality=50) == (4, 0), "another quality"
    assert run() == (4, 0)
    older = source / "a.jpg"
    open_photo("lion.jpg").resize((512, 512)).save(older)
    os.utime(older, (0, 0))
    assert run() == (1, 3), "a source that was replaced by an older file"
    assert Image.open(target / "a.jpg").size == (256, 256)
    os.utime(older)
    assert run() == (0, 4), "a source that was only touched"
    (target / "a.jpg").write_bytes(b"")
    open_photo("lion.jpg").save(target / "done.jpg")
    assert run() == (2, 2), "a target that was changed"


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
    first = FolderResize(source, None)
    list(first)
    assert first.skipped == 1
    assert Image.open(source / "a.jpg").size == (256, 407)
    again = FolderResize(source, None)
    list(again)
    assert again.skipped == 4


def linked(tmp_path: Path) -> tuple[Path, Path]:
    """A folder of photos, and one with links to a folder and a photo in it."""
    store = make_folder(tmp_path / "store")
    source = tmp_path / "in"
    source.mkdir()
    (source / "lion").symlink_to(store / "deep")
    (source / "a.jpg").symlink_to(store / "a.jpg")
    return store, source


def test_in_place_never_changes_what_links_outside_the_folder_lead_to(tmp_path: Path) -> None:
    store, source = linked(tmp_path)
    before = {path: path.read_bytes() for path in store.rglob("*.*")}
    with pytest.raises(UsageError, match=r"in/a\.jpg leads to .*store/a\.jpg, outside .*in: .* use --to\."):
        FolderResize(source, None)
    assert before == {path: path.read_bytes() for path in store.rglob("*.*")}
    work = FolderResize(source, tmp_path / "out")
    list(work)
    assert work.resized == 2
    assert before == {path: path.read_bytes() for path in store.rglob("*.*")}


def test_in_place_resizes_once_what_links_inside_the_folder_lead_to(tmp_path: Path) -> None:
    source = make_folder(tmp_path / "in")
    (source / "again.jpg").symlink_to(source / "a.jpg")
    (source / "deeper").symlink_to(source / "deep" / "er")
    work = FolderResize(source, None, threads=4)
    list(work)
    assert (work.resized, work.skipped, len(work.refused)) == (3, 1, 1)
    assert (source / "again.jpg").is_symlink()
    assert Image.open(source / "again.jpg").size == (256, 407)


def test_links_in_the_target_are_followed_but_never_to_an_original(tmp_path: Path) -> None:
    source, target, other = make_folder(tmp_path / "in"), tmp_path / "out", tmp_path / "other.jpg"
    before = {path: path.read_bytes() for path in source.rglob("*.*")}
    target.mkdir()
    (target / "a.jpg").symlink_to(other)
    (target / "c.png").symlink_to(source / "c.png")
    work = FolderResize(source, target)
    list(work)
    assert (target / "a.jpg").is_symlink()
    assert Image.open(other).size == (256, 407)
    assert {item.path.name: item.reason for item in work.refused}["c.png"] == (
        f"A link in {target} leads to an original, {source / 'c.png'}; remove the link."
    )
    assert before == {path: path.read_bytes() for path in source.rglob("*.*")}


def test_a_link_in_the_source_that_leads_to_the_target(tmp_path: Path) -> None:
    source, target = make_folder(tmp_path / "in"), tmp_path / "out"
    (source / "resized").symlink_to(target)
    work = FolderResize(source, target)
    list(work)
    assert work.resized == 4
    with pytest.raises(UsageError, match=r"in/resized/a\.jpg leads into .*out, where the resized files go; remove"):
        FolderResize(source, target)


def test_exif_and_profile_are_kept() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    profile = Image.open(photo_path("tower.jpg")).info.get("icc_profile") or b"profile"
    data = encoded(open_photo("tower.jpg"), "JPEG", exif=exif, icc_profile=profile, subsampling=0)
    resized = Image.open(io.BytesIO(resize_bytes(data)))
    assert resized.getexif()[0x0112] == 6
    assert resized.size == (256, 407), "pixels are not rotated: the orientation tag still applies"
    assert resized.info["icc_profile"] == profile
    assert JpegImagePlugin.get_sampling(resized) == 0


@pytest.mark.parametrize("mode", ["L", "CMYK", "RGB"])
def test_colour_modes_are_kept(mode: str) -> None:
    resized = Image.open(io.BytesIO(resize_bytes(encoded(open_photo("tower.jpg").convert(mode), "JPEG"))))
    assert (resized.mode, resized.format) == (mode, "JPEG")


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def grey_float(scale: float) -> Image.Image:
    return Image.fromarray(np.asarray(open_photo("tower.jpg").convert("L"), np.float32) * np.float32(scale))


def in_lab() -> Image.Image:
    lab, rgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    image = ImageCms.profileToProfile(open_photo("tower.jpg"), rgb, lab, outputMode="LAB")
    assert image
    return image


@pytest.mark.parametrize(
    ("image", "mode"),
    [
        (lambda: open_photo("tower.jpg").convert("CMYK"), "RGB"),
        (in_lab, "RGB"),
        (lambda: grey_float(1), "RGB"),
        (lambda: grey_float(1 / 255), "RGB"),
        (lambda: Image.fromarray(np.asarray(open_photo("tower.jpg").convert("L")).astype(np.uint16) * 257), "I;16"),
        (lambda: open_photo("tower.jpg").convert("LA"), "LA"),
        (lambda: open_photo("tower.jpg").convert("1"), "L"),
        (lambda: open_photo("tower.jpg").quantize(), "RGB"),
    ],
    ids=["CMYK", "LAB", "float", "float to 1", "16 bits", "grey and alpha", "two colours", "palette"],
)
def test_tiffs_in_odd_colour_modes_become_pngs_of_the_same_look(image: Callable[[], Image.Image], mode: str) -> None:
    resized = opened(resize_bytes(encoded(image(), "TIFF")))
    assert (resized.format, resized.mode, resized.size) == ("PNG", mode, (256, 407))
    wanted = open_photo("tower.jpg").resize((256, 407), Image.Resampling.LANCZOS)
    found = np.asarray(resized) // 257 if mode == "I;16" else np.asarray(resized.convert("L"))
    assert abs(float(np.mean(found)) - float(np.mean(np.asarray(wanted.convert("L"))))) < 4


def test_what_cannot_be_written_is_refused() -> None:
    with pytest.raises(ImageError, match="would have 256 x 76,800; expected at most 65,500 on a side of a JPEG"):
        resize_bytes(encoded(open_photo().resize((10, 3000)), "JPEG"))
    with pytest.raises(ImageError, match="would have 256 x 7,680,000; expected at most 256,000,000 in all"):
        resize_bytes(encoded(Image.new("L", (1, 30_000)), "PNG"))


def many_segments_of_exif(orientation: int) -> bytes:
    """A photo whose EXIF data takes four segments, as some cameras write it with their own notes."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x927C] = bytes(200_000)
    data = encoded(open_photo("tower.jpg"), "JPEG")
    body = exif.tobytes().removeprefix(b"Exif\0\0")
    segments = [b"Exif\0\0" + body[at : at + 60_000] for at in range(0, len(body), 60_000)]
    marked = b"".join(b"\xff\xe1" + (len(one) + 2).to_bytes(2, "big") + one for one in segments)
    return data[:2] + marked + data[2:]


def test_exif_data_that_is_too_long_gives_way_to_the_orientation() -> None:
    data = many_segments_of_exif(6)
    assert len(Image.open(io.BytesIO(data)).info["exif"]) > 200_000
    resized = opened(resize_bytes(data))
    assert dict(resized.getexif()) == {0x0112: 6}


@pytest.mark.parametrize(("length", "kept"), [(60_000, True), (65_533, False)])
def test_a_comment_that_leaves_no_room_is_dropped(length: int, kept: bool) -> None:
    photo = open_photo("tower.jpg")
    photo.info.clear()  # it has a comment of its own
    data = encoded(photo, "JPEG")
    data = data[:2] + b"\xff\xfe" + (length + 2).to_bytes(2, "big") + b"c" * length + data[2:]
    resized = opened(resize_bytes(data, comment="made here"))
    assert min(resized.size) == 256
    assert (b"c" * length in resize_bytes(data)) == kept


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "HEIF"])
def test_unreadable_exif_data_harms_nothing(kind: str) -> None:
    resized = opened(resize_bytes(encoded(open_photo("tower.jpg"), kind, exif=b"Exif\0\0garbage-garbage-")))
    assert min(resized.size) == 256


def test_the_tables_of_the_original_are_kept() -> None:
    data = encoded(open_photo("tower.jpg"), "JPEG", qtables=[list(range(1, 65)), list(range(2, 66))])
    assert tables(opened(resize_bytes(data))) == tables(opened(data))
    for mode, quality in (("L", 40), ("CMYK", 40)):
        data = encoded(open_photo("tower.jpg").convert(mode), "JPEG", quality=quality)
        assert tables(opened(resize_bytes(data)))[0] == tables(opened(data))[0]


def test_a_name_that_is_too_long_ends_no_run(tmp_path: Path) -> None:
    for name in ("n" * 250 + ".jpg", "short.jpg"):
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / name).write_bytes(encoded(open_photo("tower.jpg"), "JPEG"))
    resize = FolderResize(tmp_path / "in", tmp_path / "out")
    for _ in resize:
        pass
    assert resize.resized == 1
    assert "Its name is too long" in resize.refused[0].reason


def test_an_odd_image_never_ends_a_run(tmp_path: Path) -> None:
    source = make_folder(tmp_path / "in")
    open_photo().resize((10, 3000)).save(source / "thin.jpg")
    in_lab().save(source / "lab.tif")
    work = FolderResize(source, tmp_path / "out")
    list(work)
    assert (work.resized, work.skipped) == (5, 0)
    assert sorted(item.path.name for item in work.refused) == ["text.jpg", "thin.jpg"]


def test_bad_requests_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no folder"):
        FolderResize(tmp_path / "nowhere", tmp_path / "out")
    with pytest.raises(UsageError, match="no images"):
        FolderResize(tmp_path, tmp_path.parent / "out")
    with pytest.raises(UsageError, match="lies inside"):
        FolderResize(tmp_path, tmp_path / "out")
    with pytest.raises(ImageError):
        resize_bytes(encoded(open_photo("tower.jpg"), "JPEG")[:-500])
