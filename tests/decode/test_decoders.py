"""DALI and Pillow agree; each is also compared with an independent resize, crop and normalisation.

Without resizing the pixels are equal (within 1e-5 after normalising). With it, the bicubic filters of DALI and Pillow
differ by at most 12 of 255 levels at single edge pixels, and by a quarter of a level on average.
"""

from __future__ import annotations

import io
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms, ImageOps

from lowrank_demo.decode.base import MEAN, STD, Decoder
from lowrank_demo.decode.choose import choose_decoder
from lowrank_demo.decode.dali import DaliDecoder
from lowrank_demo.decode.pillow import PillowDecoder
from lowrank_demo.settings import Settings
from tests.helpers.paths import ROOT
from tests.helpers.photos import encoded, open_photo, photo_path

PIXELS = 64_000_000
LARGEST, MEAN_DIFFERENCE = 12, 0.25

dali = pytest.importorskip("nvidia.dali", reason="NVIDIA DALI does not import on this platform")


@pytest.fixture(scope="module")
def on_cpu() -> DaliDecoder:
    return DaliDecoder(PIXELS, 2, torch.device("cpu"))


@pytest.fixture(scope="module")
def with_pillow() -> PillowDecoder:
    return PillowDecoder(PIXELS, 2)


def levels(pixels: torch.Tensor) -> torch.Tensor:
    """Normalised pixels back to 0..255."""
    return pixels * torch.tensor(STD).view(3, 1, 1) + torch.tensor(MEAN).view(3, 1, 1)


def independent(data: bytes, oriented: bool = True) -> torch.Tensor:
    """Whole image resized to shortest edge 256 (halves up), cropped at the rounded-up middle: levels [3, 227, 227]."""
    image = Image.open(io.BytesIO(data))
    if oriented:
        image = ImageOps.exif_transpose(image)
    image = image.convert("RGB")
    scale = 256 / min(image.size)
    width, height = (256 if edge == min(image.size) else int(edge * scale + 0.5) for edge in image.size)
    array = np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))
    top, left = -(-(array.shape[0] - 227) // 2), -(-(array.shape[1] - 227) // 2)
    return torch.from_numpy(array[top : top + 227, left : left + 227].copy()).permute(2, 0, 1).float()


def with_orientation(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def sixteen_bit() -> Image.Image:
    grey = np.asarray(open_photo().convert("L")).astype(np.uint16)
    return Image.fromarray(grey * 256 + 37)


PHOTO = open_photo()
KINDS = {
    "baseline JPEG": encoded(PHOTO, "JPEG"),
    "progressive JPEG": encoded(PHOTO, "JPEG", progressive=True),
    "4:4:4 JPEG": encoded(PHOTO, "JPEG", subsampling=0, quality=95),
    "grey JPEG": encoded(PHOTO.convert("L"), "JPEG"),
    "CMYK JPEG": encoded(PHOTO.convert("CMYK"), "JPEG"),
    "RGB PNG": encoded(PHOTO, "PNG"),
    "RGBA PNG": encoded(PHOTO.convert("RGBA"), "PNG"),
    "palette PNG": encoded(PHOTO.quantize(64), "PNG"),
    "16-bit PNG": encoded(sixteen_bit(), "PNG"),
    "1-bit PNG": encoded(PHOTO.convert("1"), "PNG"),
    "large": encoded(PHOTO.resize((2400, 1601)), "JPEG"),
    "narrow": encoded(PHOTO.resize((300, 1999)), "PNG"),
    "small": encoded(PHOTO.resize((61, 47)), "PNG"),
    "tiny": encoded(PHOTO.resize((3, 2)), "PNG"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_decoders_agree(kind: str, on_cpu: Decoder, with_pillow: Decoder) -> None:
    data = KINDS[kind]
    a, b = on_cpu.decode([data]), with_pillow.decode([data])
    assert a.decoders == (("pillow",) if kind in ("RGBA PNG", "1-bit PNG") else ("dali-cpu",))
    assert a.pixels.shape == b.pixels.shape == (1, 3, 227, 227)
    assert a.pixels.dtype == b.pixels.dtype == torch.float32
    difference = (levels(a.pixels[0]) - levels(b.pixels[0])).abs()
    assert difference.max() <= LARGEST
    assert difference.mean() <= MEAN_DIFFERENCE


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("16-bit PNG",)])
def test_pillow_equals_an_independent_computation(kind: str, with_pillow: Decoder) -> None:
    difference = (levels(with_pillow.decode([KINDS[kind]]).pixels[0]) - independent(KINDS[kind])).abs()
    assert difference.max() <= 1.01, "resizing only the crop may change the rounding by one level"


@pytest.mark.parametrize("size", [(256, 256), (301, 256), (256, 302), (257, 256), (256, 999)])
def test_files_resized_beforehand_are_bit_equal(size: tuple[int, int], on_cpu: Decoder, with_pillow: Decoder) -> None:
    data = encoded(PHOTO.resize(size), "JPEG")
    a, b = on_cpu.decode([data], oriented=False).pixels[0], with_pillow.decode([data], oriented=False).pixels[0]
    torch.testing.assert_close(a, b, atol=1e-5, rtol=0)
    torch.testing.assert_close(levels(a), independent(data), atol=1e-3, rtol=0)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("size", [(256, 301), (302, 256), (400, 257)])
def test_orientation(orientation: int, size: tuple[int, int], on_cpu: Decoder, with_pillow: Decoder) -> None:
    data = encoded(PHOTO.resize(size), "JPEG", exif=with_orientation(orientation))
    for decoder in (on_cpu, with_pillow):
        upright = decoder.decode([data])
        assert upright.decoders == (decoder.name,)
        difference = (levels(upright.pixels[0]) - independent(data)).abs()
        assert difference.max() <= LARGEST
        assert difference.mean() <= MEAN_DIFFERENCE
        stored = decoder.decode([data], oriented=False).pixels[0]
        assert (levels(stored) - independent(data, oriented=False)).abs().mean() <= MEAN_DIFFERENCE


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("GIF", {}),
        ("WEBP", {}),
        ("WEBP", {"save_all": True, "append_images": [PHOTO.transpose(Image.Transpose.ROTATE_90).resize(PHOTO.size)]}),
        ("BMP", {}),
        ("TIFF", {}),
        ("AVIF", {}),
        ("HEIF", {}),
    ],
)
def test_what_dali_refuses_goes_to_pillow(kind: str, options: dict, on_cpu: Decoder) -> None:
    image = PHOTO.resize((300, 260))
    if "append_images" in options:
        options = {**options, "append_images": [options["append_images"][0].resize(image.size)]}
    decoded = on_cpu.decode([encoded(image, kind, **options), KINDS["baseline JPEG"]])
    assert decoded.decoders == ("pillow", "dali-cpu")
    expected = independent(encoded(image, "PNG"))
    assert (levels(decoded.pixels[0]) - expected).abs().mean() < 12, "the same photo, within lossy coding"


_UNREADABLE_EXIF = {
    "garbage": b"Exif\0\0garbage-garbage-",
    "no TIFF header, as in one of COCO's files": b"Exif\0\0\0\x08\0\x02\x01\x12\0\x03\0\0\0\1\0\1\0\0",
    "zeros, as RawTherapee wrote": b"Exif\0\0\0\0\x11\0\0\1\4" + bytes(17),
    "cut off": b"Exif\0\0MM\0*\0\0",
}


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "HEIF"])
@pytest.mark.parametrize("exif", _UNREADABLE_EXIF.values(), ids=_UNREADABLE_EXIF)
def test_unreadable_exif_data_is_ignored(kind: str, exif: bytes, on_cpu: Decoder, with_pillow: Decoder) -> None:
    plain, odd = (encoded(open_photo(), kind, **options) for options in ({}, {"exif": exif}))
    for decoder in (on_cpu, with_pillow):
        decoded = decoder.decode([plain, odd])
        assert not decoded.refused
        assert (levels(decoded.pixels[0]) - levels(decoded.pixels[1])).abs().mean() < MEAN_DIFFERENCE


def test_lab_and_floating_point_tiffs_look_as_they_should(with_pillow: Decoder) -> None:
    photo = open_photo("tower.jpg")
    lab = ImageCms.profileToProfile(
        photo, ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
    )
    assert lab
    grey = np.asarray(photo.convert("L"), np.float32)
    pairs = [
        (photo, lab),
        (photo.convert("L"), Image.fromarray(grey)),
        (photo.convert("L"), Image.fromarray(grey / np.float32(255))),
    ]
    for usual, odd in pairs:
        decoded = with_pillow.decode([encoded(usual, "PNG"), encoded(odd, "TIFF")])
        assert not decoded.refused
        assert (levels(decoded.pixels[0]) - levels(decoded.pixels[1])).abs().mean() < 3


def test_transparent_pixels_become_white(on_cpu: Decoder) -> None:
    clear = Image.new("RGBA", (256, 256), (0, 0, 0, 0))
    for data in (encoded(clear, "PNG"), encoded(clear, "WEBP")):
        torch.testing.assert_close(levels(on_cpu.decode([data]).pixels[0]), torch.full((3, 227, 227), 255.0))


@pytest.mark.parametrize("which", ["dali", "pillow"])
def test_bad_files_are_refused_and_do_not_affect_others(which: str, on_cpu: Decoder, with_pillow: Decoder) -> None:
    decoder = on_cpu if which == "dali" else with_pillow
    good = KINDS["baseline JPEG"]
    png = bytearray(KINDS["RGB PNG"])
    png[len(png) // 2] ^= 255
    bad = {
        b"": "empty",
        b"This is not a photo.": "is a text",
        b"<!DOCTYPE html><html>": "web page",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>": "SVG",
        good[: len(good) // 2]: "cut off",
        good[:-2]: "cut off",
        bytes(png): "damaged",
        KINDS["RGB PNG"][:2000]: "damaged",
        encoded(Image.new("1", (10_000, 10_000)), "PNG"): "10000 x 10000 = 100 megapixels",
        encoded(Image.new("1", (20_000, 20_000)), "PNG"): "64 megapixels",
    }
    batch = [good, *bad, good]
    decoded = decoder.decode(batch)
    assert decoded.rows == (0, len(batch) - 1)
    assert torch.equal(decoded.pixels[0], decoded.pixels[1])
    for position, (data, sentence) in enumerate(bad.items(), start=1):
        message = str(decoded.refused[position])
        assert sentence in message, (data[:20], message)
        assert message.count("\n") == 0
    assert decoder.decode([good]).rows == (0,), "the next request works"


@pytest.mark.parametrize("which", ["dali", "pillow"])
def test_jpeg_that_fails_only_when_it_is_decoded(which: str, on_cpu: Decoder, with_pillow: Decoder) -> None:
    """Headers and ends are whole but the coded data is not: DALI's batch fails, and only this file is refused."""
    decoder = on_cpu if which == "dali" else with_pillow
    good = KINDS["baseline JPEG"]
    broken = bytearray(good)
    start = good.index(b"\xff\xda") + 20
    broken[start - 18 : start - 16] = b"\x00\x01"  # a scan header of an impossible length
    decoded = decoder.decode([good, bytes(broken), good])
    assert decoded.rows == (0, 2)
    assert decoded.decoders == (decoder.name, decoder.name)
    assert "is damaged and cannot be decoded" in str(decoded.refused[1])
    assert torch.equal(decoded.pixels[0], decoded.pixels[-1])


@pytest.mark.parametrize("count", [0, 1, 63, 64, 65, 130])
def test_any_batch_size(count: int, on_cpu: Decoder, with_pillow: Decoder) -> None:
    data = encoded(PHOTO.resize((256, 256)), "JPEG")
    for decoder in (on_cpu, with_pillow):
        decoded = decoder.decode([data] * count)
        assert decoded.pixels.shape == (count, 3, 227, 227)
        assert decoded.rows == tuple(range(count))


def test_long_thin_images_cost_no_memory(with_pillow: Decoder) -> None:
    decoded = with_pillow.decode([encoded(Image.new("RGB", (30_000, 1)), "PNG")])
    assert decoded.rows == (0,)


def test_dali_is_chosen(settings: Settings) -> None:
    choice = choose_decoder(settings, torch.device("cpu"))
    assert (choice.decoder.name, choice.reason) == ("dali-cpu", "")


def test_real_photos_agree(on_cpu: Decoder, with_pillow: Decoder) -> None:
    data = [photo_path(name).read_bytes() for name in ("lion.jpg", "tower.jpg", "cheetah1.jpg", "groot.jpeg")]
    a, b = on_cpu.decode(data).pixels, with_pillow.decode(data).pixels
    difference = (levels(a) - levels(b)).abs()
    assert difference.max() <= LARGEST
    assert difference.mean() <= MEAN_DIFFERENCE


@pytest.mark.skipif(not dali.__version__.startswith("1."), reason="DALI 2 warns of no version of Python")
@pytest.mark.parametrize(("minor", "said"), [(12, ""), (7, "DALI 1.31 is the last release to support Python 3.7")])
def test_only_the_warning_of_experimental_support_is_silenced(minor: int, said: str) -> None:
    """DALI believes that it runs on Python 3.12, which it warns of, or on 3.7, of which it says something else."""
    code = (
        "import collections, sys, lowrank_demo.decode.pillow\n"
        "Version = collections.namedtuple('Version', 'major minor micro releaselevel serial')\n"
        f"sys.version_info = Version(3, {minor}, 0, 'final', 0)\n"
        "import lowrank_demo.decode.dali\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert said in done.stderr if said else not done.stderr
