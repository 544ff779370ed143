"""The scripts that prepare the bundled weights' training photos, run as their reader runs them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

SCRIPTS = Path(__file__).parents[2] / "assets" / "preview"
TENCH, GOLDFISH = "n01440764", "n01443537"


def run(script: Path, *arguments: object) -> str:
    done = subprocess.run(
        [sys.executable, script, *map(str, arguments)], cwd=script.parent, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def with_own_lists(name: str, folder: Path, **lists: str) -> Path:
    """The script in a folder of its own, where the lists that it reads beside itself are others."""
    for file, text in lists.items():
        (folder / file.replace("_", ".")).write_text(text)
    return Path(shutil.copy(SCRIPTS / name, folder))


def photo(path: Path, seed: int, size: tuple[int, int] = (320, 280)) -> Image.Image:
    """Smooth random shapes, as varied as photos are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    image = Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC)
    image.save(path, quality=95)
    return image


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A Git repository ``someone/photos`` below the folder that is returned."""
    folder = tmp_path / "host" / "someone" / "photos"
    photo(folder / "data" / f"{TENCH} tench" / "A photo (1).JPG", 1)
    photo(folder / "data" / f"{GOLDFISH}-gold" / "b.png", 2)
    photo(folder / "data" / ".hidden" / "c.jpg", 3)
    (folder / "data" / "README.md").write_text("photos")
    git = ["git", "-c", "user.name=someone", "-c", "user.email=someone@example.org", "-C", str(folder)]
    for command in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--message", "photos"]):
        subprocess.run([*git, *command], check=True)
    return tmp_path / "host"


@pytest.mark.skipif(shutil.which("git") is None, reason="there is no git here, which fetches the photos")
@pytest.mark.parametrize(
    ("left_out", "expected"), [("", [f"{TENCH}/A_photo__1_.JPG", f"{GOLDFISH}/b.png"]), (TENCH, [f"{GOLDFISH}/b.png"])]
)
def test_gather_copies_the_photos_of_a_repository_under_plain_names(
    tmp_path: Path, repository: Path, left_out: str, expected: list[str]
) -> None:
    script = with_own_lists("gather.py", tmp_path, sources_csv=f"fish,someone/photos,data,{left_out}\n")
    told = run(script, tmp_path / "raw", repository.as_uri())
    fish = tmp_path / "raw" / "fish"
    assert sorted(file.relative_to(fish).as_posix() for file in fish.rglob("*.*")) == sorted(expected)
    assert f"{len(expected)} photos of someone/photos" in told


def test_photos_lists_each_photo_as_often_as_it_is_to_come(tmp_path: Path) -> None:
    raw, photos = tmp_path / "raw", tmp_path / "photos"
    for folder in ("imagenette", "dogs", "mini"):
        (raw / folder).mkdir(parents=True)
    photo(raw / "imagenette" / TENCH / "one.jpg", 1)
    photo(raw / "imagenette" / TENCH / "excluded.jpg", 2)
    photo(raw / "ponds" / "gold" / "a.jpg", 3)
    photo(raw / "street" / "sure.jpg", 4, (600, 512))
    photo(raw / "street" / "unsure.jpg", 5)
    for number in range(4):
        photo(photos / "tiny" / "train" / GOLDFISH / "images" / f"{GOLDFISH}_{number}.JPEG", 10 + number, (64, 64))
    script = with_own_lists(
        "photos.py",
        tmp_path,
        classes_csv=f"ponds/gold,{GOLDFISH}\n",
        excluded_txt=f"sharp/imagenette/{TENCH}/excluded.jpg.jpg\nclean/{GOLDFISH}/{GOLDFISH}_3.jpg\n",
        seen_csv="street/sure.jpg,n04285008,0.9\nstreet/unsure.jpg,n04285008,0.2\n",
    )
    run(script, raw, photos, tmp_path / "labels.csv", 5, 2, 4, 1)
    lines = (tmp_path / "labels.csv").read_text().splitlines()
    assert {line: lines.count(line) for line in lines} == {
        f"sharp/imagenette/{TENCH}/one.jpg.jpg,{TENCH}": 2,
        f"sharp/ponds/gold/a.jpg.jpg,{GOLDFISH}": 5,
        "sharp/street/sure.jpg.jpg,n04285008": 4,
        "sharp/street/unsure.jpg.jpg,n04285008": 1,
        f"clean/{GOLDFISH}/{GOLDFISH}_0.jpg,{GOLDFISH}": 1,
        f"tiny/train/{GOLDFISH}/images/{GOLDFISH}_1.JPEG,{GOLDFISH}": 1,
        f"clean/{GOLDFISH}/{GOLDFISH}_2.jpg,{GOLDFISH}": 1,
    }
    with Image.open(photos / "sharp" / "street" / "sure.jpg.jpg") as image:
        assert image.size == (300, 256)


def test_copies_shows_a_mirrored_and_compressed_copy_and_no_other_photo(tmp_path: Path) -> None:
    photos, measured = tmp_path / "photos", tmp_path / "measured"
    names = [f"sharp/{number}.jpg" for number in range(20)]
    trained = [photo(photos / name, number) for number, name in enumerate(names)]
    measured.mkdir()
    ImageOps.mirror(trained[7].resize((64, 64))).save(measured / "copy.jpg", quality=60)
    photo(measured / "other.jpg", 99)
    (tmp_path / "labels.csv").write_text("".join(f"{name},{TENCH}\n" for name in names))
    script = with_own_lists("copies.py", tmp_path)
    told = run(script, photos, tmp_path / "labels.csv", measured)
    assert told == "20 training photos, 2 measured ones, pairs to look at: 1\n"
    page = (tmp_path / "copies.html").read_text()
    assert (photos / "sharp" / "7.jpg").as_uri() in page
    assert (measured / "copy.jpg").as_uri() in page
