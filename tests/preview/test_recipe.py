"""The scripts that make the bundled weights, run as their reader runs them."""

from __future__ import annotations

import importlib
import io
import json
import os
import pickle
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from lowrank_demo.errors import UsageError
from lowrank_demo.lowrank.load import load_network
from lowrank_demo.models.path import path_of
from lowrank_demo.models.store import WeightStore
from lowrank_demo.models.zoo import read_zoo
from lowrank_demo.nn.alexnet import LowRankAlexNet
from lowrank_demo.nn.nested import NestedAlexNet, Version, merged
from lowrank_demo.settings import ASSETS
from lowrank_demo.train.batches import evenly_spaced
from lowrank_demo.train.config import DataConfig, FinetuneConfig, RunConfig, read_config
from lowrank_demo.train.output import write_nested
from tests.helpers.lmdb_files import build_long_lmdb

SCRIPTS = Path(__file__).parents[2] / "assets" / "preview"
TENCH, GOLDFISH = "n01440764", "n01443537"


def run(script: Path, *arguments: object) -> str:
    done = subprocess.run(
        [sys.executable, script, *map(str, arguments)], cwd=script.parent, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def photo(path: Path, seed: int, size: tuple[int, int] = (320, 280)) -> Image.Image:
    """Smooth random shapes, as varied as photos are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    image = Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC)
    image.save(path, quality=95)
    return image


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-c", "user.name=someone", "-c", "user.email=someone@example.org", "-C", str(folder), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A Git repository ``someone/photos`` below the folder that is returned: four photos, and what is none."""
    folder = tmp_path / "host" / "someone" / "photos"
    photo(folder / "data" / f"{TENCH} tench" / "A photo (1).JPG", 1)
    photo(folder / "data" / f"{TENCH} tench" / "again.jpg", 1)
    photo(folder / "data" / f"{GOLDFISH}-gold" / "b.png", 2)
    photo(folder / "data" / f"{GOLDFISH}-gold" / "c.webp", 3)
    photo(folder / "data" / ".hidden" / "d.jpg", 4)
    photo(folder / "data" / "masks" / "e.png", 5)
    photo(folder / "data" / "tiny.png", 6, (40, 40))
    photo(folder / "data" / "long.png", 7, (2000, 300))
    Image.new("RGB", (300, 300), "red").save(folder / "data" / "drawing.png")
    (folder / "data" / "text.jpg").write_text("no photo")
    photo(folder / "more.jpg", 8)
    git(folder, "init", "--quiet")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", "photos")
    git(folder, "config", "uploadpack.allowAnySHA1InWant", "true")
    return tmp_path / "host"


@pytest.mark.skipif(shutil.which("git") is None, reason="there is no git here, which fetches the photos")
@pytest.mark.parametrize(
    ("paths", "most", "expected"),
    [("data", 9, 3), ("", 9, 4), (f"data/{GOLDFISH}-gold|more", 9, 2), ("data", 2, 2)],
)
def test_gather_shrinks_the_photos_of_a_repository(
    tmp_path: Path, repository: Path, paths: str, most: int, expected: int
) -> None:
    commit = git(repository / "someone" / "photos", "rev-parse", "HEAD")
    sources = tmp_path / "sources.csv"
    sources.write_text(
        "folder,repository,commit,paths,photos,licence,description\n"
        f"fish,someone/photos,{commit},{paths},{most},none stated,fish\n"
    )
    gather = (SCRIPTS / "gather.py", tmp_path / "photos", "--sources", sources, "--host")
    told = run(*gather, repository.as_uri())
    assert f"1 of 1: fish, {expected} photos" in told
    files = sorted((tmp_path / "photos" / "fish").iterdir())
    assert [file.name for file in files] == [f"{number:06d}.jpg" for number in range(expected)]
    for file in files:
        with Image.open(file) as image:
            assert min(image.size) == 256
    before = [file.stat().st_mtime_ns for file in files]
    run(*gather, "file:///nowhere")  # what is done is not fetched again
    assert [file.stat().st_mtime_ns for file in files] == before


@pytest.mark.skipif(shutil.which("git") is None, reason="there is no git here, which fetches the photos")
def test_gather_goes_on_without_a_repository_that_is_gone(tmp_path: Path, repository: Path) -> None:
    commit = git(repository / "someone" / "photos", "rev-parse", "HEAD")
    sources = tmp_path / "sources.csv"
    header = "folder,repository,commit,paths,photos,licence,description\n"
    gone = f"gone,someone/gone,{commit},,9,none stated,was here\n"
    sources.write_text(f"{header}{gone}fish,someone/photos,{commit},,9,none stated,fish\n")
    gather = (SCRIPTS / "gather.py", tmp_path / "photos", "--sources", sources, "--host", repository.as_uri())
    told = run(*gather)
    assert re.search(r"1 of 2: file://.*/someone/gone at [0-9a-f]{12} cannot be fetched: ", told)
    assert "2 of 2: fish, 4 photos" in told
    assert told.endswith("1 of 2 repositories could not be fetched: gone.\n")
    (repository / "someone" / "photos").rename(repository / "someone" / "gone")
    assert "1 of 2: gone, 0 photos" in run(*gather), "it is back, with the photos that are here already"
    sources.write_text(header + gone.replace("gone", "away"))
    with pytest.raises(AssertionError, match="No repository could be fetched; check the network"):
        run(*gather)


@pytest.mark.parametrize("added", [False, True])
def test_a_search_for_copies_that_was_stopped_continues(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, added: bool
) -> None:
    monkeypatch.syspath_prepend(SCRIPTS)
    copies = importlib.import_module("copies")
    monkeypatch.setattr(copies, "BATCH", 4)
    photos, measured = tmp_path / "photos", tmp_path / "measured"
    trained = [photo(photos / f"{number:02d}.jpg", number) for number in range(12)]
    measured.mkdir()
    for number in (1, 9):
        trained[number].save(measured / f"{number}.png")
    compared: list[str] = []
    greys = copies._greys

    def stops(pool: object, files: list[Path]) -> np.ndarray:
        if files[0].parent == photos:
            compared.extend(file.stem for file in files)
            if files[0].stem == "08" and not (photos / "again").exists():
                (photos / "again").touch()
                raise KeyboardInterrupt
        return greys(pool, files)

    monkeypatch.setattr(copies, "_greys", stops)
    with pytest.raises(KeyboardInterrupt):
        copies.main(photos, [measured])
    assert (photos / "excluded.csv").read_text().startswith("01.jpg,1.png,")
    compared.clear()
    if added:  # before those that were compared
        trained[1].save(photos / "00a.png")
    copies.main(photos, [measured])
    lines = (photos / "excluded.csv").read_text().splitlines()
    if added:
        assert len(compared) == 12, "all are compared again"
        assert [line.split(",")[0] for line in lines] == ["01.jpg", "00a.png", "09.jpg"]
    else:
        assert compared == ["08", "09", "10", "11"]
        assert [line.split(",")[0] for line in lines] == ["01.jpg", "09.jpg"]
    assert not (photos / "copies.mark").exists()


def test_photos_cropped_mirrored_and_compressed_are_found_and_no_others(tmp_path: Path) -> None:
    photos, measured = tmp_path / "photos", tmp_path / "measured"
    trained = [photo(photos / "some" / f"{number}.jpg", number) for number in range(20)]
    measured.mkdir()
    ImageOps.mirror(trained[7].resize((64, 56))).save(measured / "copy.jpg", quality=60)
    trained[11].crop((20, 0, 300, 280)).save(measured / "square.png")
    photo(measured / "other.jpg", 99)
    told = run(SCRIPTS / "copies.py", photos, measured)
    assert "2 of 20 photos resemble measured ones." in told
    lines = (photos / "excluded.csv").read_text().splitlines()
    assert [line.split(",")[:2] for line in lines] == [["some/11.jpg", "square.png"], ["some/7.jpg", "copy.jpg"]]
    left = {file.stem for file in (photos / "some").iterdir()}
    assert left == {str(number) for number in range(20)} - {"7", "11"}


class Payload:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("executed",)


def arrays() -> dict[str, dict[str, dict[str, np.ndarray]]]:
    """Convolutions of the shapes that the package has, in its layout."""
    shapes = [(11, 3, 64), (5, 64, 192), (3, 192, 384), (3, 384, 256), (3, 256, 256)]
    chance = np.random.default_rng(0)
    return {
        "AlexNet_0": {
            f"Conv_{number}": {
                "kernel": chance.normal(0, (kernel**2 * inputs) ** -0.5, (kernel, kernel, inputs, outputs)).astype(
                    "f4"
                ),
                "bias": chance.normal(0, 0.1, outputs).astype("f4"),
            }
            for number, (kernel, inputs, outputs) in enumerate(shapes)
        }
    }


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(SCRIPTS)
    stack = importlib.import_module("stack")
    monkeypatch.setattr(stack, "convolutions", lambda: stack.read(io.BytesIO(pickle.dumps(arrays(), 3))))
    monkeypatch.setattr(importlib.import_module("heads"), "convolutions", stack.convolutions)


@pytest.mark.usefixtures("scripts")
def test_the_start_weights_are_arrays_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stack = importlib.import_module("stack")
    weight, bias = stack.convolutions()[1]
    kernel = arrays()["AlexNet_0"]["Conv_1"]["kernel"]
    assert weight.shape == (192, 64, 5, 5)
    assert float(weight[7, 5, 1, 2]) == float(kernel[1, 2, 5, 7])
    assert np.array_equal(bias.numpy(), arrays()["AlexNet_0"]["Conv_1"]["bias"])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(pickle.UnpicklingError, match=r"mkdir; expected NumPy arrays alone"):
        stack.read(io.BytesIO(pickle.dumps(Payload())))
    assert not (tmp_path / "executed").exists()


@torch.no_grad()
@pytest.mark.usefixtures("scripts")
def test_the_uncut_convolutions_compute_what_the_given_ones_do() -> None:
    heads, stack = importlib.import_module("heads"), importlib.import_module("stack")
    images = torch.randn(6, 3, 227, 227, generator=torch.Generator().manual_seed(0))
    network = LowRankAlexNet("scheme_1", (96, 256, 384, 384, 256, 1, 1, 1)).eval()
    network.load_state_dict(heads._uncut(images), strict=False)
    torch.testing.assert_close(network.features(images).flatten(1), stack.Stack()(images), rtol=1e-3, atol=1e-4)
    added = network.features[0](images)[:, 64:]
    assert 0.01 < float(added.std() / network.features[0](images)[:, :64].std()) < 0.1, "faint, and not nothing"


@torch.no_grad()
@pytest.mark.usefixtures("scripts")
def test_folding_the_normalisation_changes_no_answer() -> None:
    heads = importlib.import_module("heads")
    torch.manual_seed(0)
    versions = [
        Version("scheme_1", name, (1, 1, 1, 1, 1, *ranks)) for name, ranks in (("a", (9, 8, 7)), ("b", (5, 9, 6)))
    ]
    made = heads.Heads(versions)
    features = torch.randn(64, 9216).abs() * torch.linspace(0.1, 3, 9216)
    for _ in range(9):
        made.train()(features)
    made.eval()
    made.nested.versions = made.nested.versions[1:]  # the one that is drawn
    wanted = made(features)
    made.folded()
    found = made.nested.network_of(versions[1]).eval().classifier(features)
    torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-3)


@pytest.mark.usefixtures("scripts")
def test_all_heads_start_as_the_smallest_and_have_components_to_train() -> None:
    heads = importlib.import_module("heads")
    torch.manual_seed(0)
    versions = [
        Version("scheme_1", name, (1, 1, 1, 1, 1, *ranks)) for name, ranks in (("a", (9, 8, 7)), ("b", (5, 6, 6)))
    ]
    assert heads.smallest_of(versions) == versions[1]
    alone, made = heads.Heads(versions[1:]), heads.Heads(versions)
    features = torch.randn(64, 9216).abs() * torch.linspace(0.1, 3, 9216)
    for _ in range(9):
        alone.train()(features)
    made.start_from(alone)
    wanted = alone.eval()(features)
    made.eval()
    for version in versions:
        answers = made.nested.part(version, "classifier", made.features(features))
        torch.testing.assert_close(answers, wanted)
    made.nested.part(versions[0], "classifier", made.features(features)).square().sum().backward()
    gradient = made.nested.tensors()["classifier.0.U.weight"].grad
    assert gradient is not None
    assert gradient[:, 5:].abs().sum() > 0


@pytest.mark.usefixtures("scripts")
def test_matching_trains_the_convolutions_of_the_version_that_is_drawn(tmp_path: Path) -> None:
    match, fit = importlib.import_module("match"), importlib.import_module("fit")
    torch.manual_seed(0)
    versions = [
        Version("scheme_2", "v1", (3, 4, 4, 4, 4, 5, 5, 5)),
        Version("scheme_2", "v2", (2, 4, 3, 3, 3, 4, 4, 4)),
    ]
    states = {one: LowRankAlexNet(one.scheme, one.ranks).state_dict() for one in versions}
    nested = NestedAlexNet(versions, merged(states))
    network = match.Convolutions(nested)
    images = torch.randn(4, 3, 227, 227)
    nested.versions = (versions[1],)
    whole = nested.network_of(versions[1]).train()
    features, logits = network(images)
    torch.testing.assert_close(features, whole.features(images).flatten(1))
    assert logits.shape == (4, 1000)

    before = {name: tensor.clone() for name, tensor in nested.tensors().items()}
    wanted = torch.rand(4, 9216)
    (tmp_path / "train.lmdb").write_bytes(b"photos")
    config = RunConfig(
        tmp_path,
        DataConfig(tmp_path / "train.lmdb", tmp_path, batch_size=4),
        finetune=FinetuneConfig(epochs=2, optimiser="adamw", learning_rate=1e-2, weight_decay=0.0),
    )
    seen: list[float] = []

    def losses(epoch: int) -> Iterator[torch.Tensor]:
        for _ in range(4):
            loss = torch.nn.functional.mse_loss(network(images)[0], wanted)
            seen.append(loss.item())
            yield loss

    fit.fit(network, losses, 4, config, "match")
    assert seen[-1] < 0.9 * seen[0]
    weights = {name: tensor for name, tensor in nested.tensors().items() if isinstance(tensor, torch.nn.Parameter)}
    changed = {name for name, tensor in weights.items() if not torch.equal(tensor, before[name])}
    assert {name.partition("features.")[0] for name in changed} == {"scheme_2/", "scheme_2/v2/"}
    v = "scheme_2/features.0.V.weight"
    assert torch.equal(nested.tensors()[v][2], before[v][2]), "a component that v2 does not have"

    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    fit.fit(network, losses, 4, config, "match")  # nothing is left to do
    assert len(seen) == 8
    assert all(torch.equal(tensor, state[name]) for name, tensor in network.state_dict().items())
    (tmp_path / "train.lmdb").write_bytes(b"other photos")
    with pytest.raises(
        UsageError, match=r"match\.pt is from a run with other photos, settings or seed.*: delete it to start again"
    ):
        fit.fit(network, losses, 4, config, "match")


def test_packed_cards_say_what_was_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(SCRIPTS)
    pack = importlib.import_module("pack")
    (tmp_path / "run.toml").write_text(
        '[data]\ntrain = "sharp.lmdb"\nvalidation = "sharp.lmdb"\n[output]\nfamily = "longer"\nformat = "float16"\n'
    )
    build_long_lmdb(tmp_path / "sharp.lmdb", 5)
    config = read_config(tmp_path / "run.toml")
    ranks = {"v1": (3, 4, 4, 4, 4, 5, 5, 5), "v2": (2, 4, 3, 3, 3, 4, 4, 4)}
    versions = [Version("scheme_2", name, own) for name, own in ranks.items()]
    states = {one: LowRankAlexNet(one.scheme, one.ranks).state_dict() for one in versions}
    write_nested(config, NestedAlexNet(versions, merged(states)), dict.fromkeys(versions, 2e-5))
    assets = tmp_path / "assets"
    (assets / "weights").mkdir(parents=True)
    zoo = json.loads((ASSETS / "zoo.json").read_text())
    zoo["models"] = [one for one in zoo["models"] if one["family"] == "published"]
    zoo["models"].append({**zoo["models"][0], "family": "bundled", "version": "old"})
    (assets / "zoo.json").write_text(json.dumps(zoo))

    monkeypatch.setattr(pack, "SETS", {"sharp": "five photos"})
    monkeypatch.setenv("LOWRANK_MODELS_DIR", str(config.folder / "models"))  # as the recipe does
    pack.main(tmp_path / "run.toml", tmp_path, assets)
    packed = read_zoo(assets / "zoo.json")
    assert len(packed.cards) == len(zoo["models"]) + 1
    cards = [card for card in packed if card.family == "bundled"]
    assert [card.id for card in cards] == ["bundled/scheme_2/v1", "bundled/scheme_2/v2"]
    store = WeightStore(packed, tmp_path / "cache")
    images = evenly_spaced(tmp_path / "sharp.lmdb", 5)
    for card in cards:
        (measured,) = card.measured
        assert (measured.dataset, measured.images) == ("five photos", 5)
        assert measured.command.endswith(f"--lmdb-file sharp.lmdb --models {card.id}")
        with torch.no_grad():
            top = load_network(card, store.ensure(card)).eval()(images).topk(5).indices
        right = sum(label in row for label, row in enumerate(top.tolist()))  # the labels are 0 to 4
        assert measured.top5 == 100 - 20 * right

    path = path_of(packed, "bundled", "scheme_2")
    assert len(path) > len(cards)
    for card in path:
        assert card.measured[0].images == 5
        assert card.measured[0].command.endswith(card.id)
    lowest = path[-1]
    with torch.no_grad():
        network = load_network(lowest, store.ensure(lowest)).eval()
        outputs = network.features[0](images)
    assert lowest.version == "v2"
    measured_mean = network.state_dict()["features.1.running_mean"]
    torch.testing.assert_close(measured_mean, outputs.mean((0, 2, 3)), rtol=2e-3, atol=2e-3)

    before = (assets / "zoo.json").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("what is measured is not measured again"))
        pack.main(tmp_path / "run.toml", tmp_path, assets)
    assert (assets / "zoo.json").read_bytes() == before
    # Other weights are: these always answer with the same five classes, two of which are asked for.
    for state in states.values():
        state["classifier.8.U.bias"] = torch.zeros(1000).index_fill(0, torch.tensor([0, 3, 7, 8, 9]), 1e4)
    write_nested(config, NestedAlexNet(versions, merged(states)), dict.fromkeys(versions, 2e-5))
    pack.main(tmp_path / "run.toml", tmp_path, assets)
    again = read_zoo(assets / "zoo.json")
    assert {card.measured[0].top5 for card in path_of(again, "bundled", "scheme_2")} == {60.0}


def test_each_step_starts_from_what_the_one_before_it_wrote(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(SCRIPTS)
    recipe = importlib.import_module("recipe")
    steps = {step.name: step for step in recipe.STEPS}
    runs = [read_config(SCRIPTS / name) for name in ("heads.toml", "match.toml", "longer.toml")]
    for before, run in pairwise(runs):
        assert {one.partition("/")[0] for one in run.finetune.start} == {before.output.family}
        assert len(run.finetune.start) == len(run.finetune.ranks_of) == 9
    assert {run.finetune.answers for run in runs} == {SCRIPTS / steps["teacher"].result}
    assert {run.folder for run in runs} == {SCRIPTS / Path(steps["features"].result).parent}
    assert [steps[name].command[-1] for name in ("heads", "match", "longer")] == [
        "heads.toml",
        "match.toml",
        "longer.toml",
    ]
    assert "longer.toml" in steps["pack"].command
    # The app has this family already, and two cards of one model are an error.
    assert "bundled" not in {run.output.family for run in runs}


def test_the_recipe_begins_in_a_new_folder_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(SCRIPTS)
    recipe = importlib.import_module("recipe")
    write = "import pathlib, sys; pathlib.Path(sys.argv[1]).touch(exist_ok=False)"
    settings = "from lowrank_demo.settings import Settings; print(Settings.from_environment().models_dir)"
    steps = (
        recipe.Step("first", ("-c", settings)),
        recipe.Step("second", ("-c", write, "made.lmdb"), "made.lmdb"),
        recipe.Step("third", ("-c", "raise SystemExit(3)")),
    )
    monkeypatch.setattr(recipe, "STEPS", steps)
    run = tmp_path / "run"
    for _ in range(2):
        with pytest.raises(subprocess.CalledProcessError):
            recipe.main(run, "third")
        assert (run / "second.done").exists()
        (run / "second.done").unlink()  # as if it had been stopped between its end and the mark
    recipe.main(run, "second")
