"""Publishing with the real huggingface-hub client, against a stand-in for the Hub's API on this machine."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
import safetensors.torch
import torch

from lowrank_demo.errors import NotWritten, UsageError
from lowrank_demo.lowrank.load import load_network
from lowrank_demo.models.store import WeightStore
from lowrank_demo.models.zoo import read_zoo
from lowrank_demo.publish.upload import stage_space, staging_folder
from lowrank_demo.settings import ASSETS
from tests.helpers import commands
from tests.helpers.hub import StandInHub
from tests.helpers.models import zoo_with
from tests.helpers.paths import ROOT, sha256
from tests.helpers.photos import photo_path

pytestmark = pytest.mark.spread

V5 = "bundled/scheme_2/v5"


def run(hub: StandInHub, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    client = {"HF_ENDPOINT": hub.url, "HF_TOKEN": "hf_secret", "HF_HUB_DISABLE_XET": "1"}
    return commands.run(*arguments, **{**client, **env})


def test_weights_go_to_a_hub_and_are_fetched_from_it(hub: StandInHub, pickled: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    zoo = zoo_with(tmp_path, {"published/scheme_2/v5": {"sha256": sha256(pickled), "file": pickled.name}})
    (cache / pickled.name).write_bytes(pickled.read_bytes())
    own = {"LOWRANK_ZOO": str(zoo), "LOWRANK_CACHE_DIR": str(cache)}
    command = ["publish-weights", "published/scheme_2/v5", V5, "--repo", "somebody/weights"]

    looked = run(hub, *command, **own)
    assert looked.returncode == 0, looked.stderr
    assert "Nothing was uploaded" in looked.stdout
    assert "published-scheme_2-v5.safetensors" in looked.stdout
    assert hub.created == []

    sent = run(hub, *command, "--private", "--upload", **own)
    assert sent.returncode == 0, sent.stderr
    assert f"{hub.url}/somebody/weights" in sent.stdout
    assert hub.created[0]["name"] == "weights"
    assert hub.created[0].get("private") or hub.created[0].get("visibility") == "private"
    assert hub.tokens == {"Bearer hf_secret"}
    assert set(hub.files) - {".gitattributes"} == {
        "README.md",
        "published-scheme_2-v5.safetensors",
        "bundled-scheme_2-v5.safetensors",
    }
    zoo = read_zoo(ASSETS / "zoo.json")
    slice_ = load_network(zoo.get(V5), WeightStore(zoo, tmp_path).ensure(zoo.get(V5))).state_dict()
    sent_slice = safetensors.torch.load(hub.files["bundled-scheme_2-v5.safetensors"])
    assert sent_slice.keys() == slice_.keys()
    assert all(torch.equal(sent_slice[key], slice_[key]) for key in slice_)
    before = torch.load(pickled, weights_only=True)
    after = safetensors.torch.load(hub.files["published-scheme_2-v5.safetensors"])
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)

    elsewhere = {**own, "LOWRANK_CACHE_DIR": str(tmp_path / "other"), "LOWRANK_HUB_REPO": "somebody/weights"}
    answered = run(hub, "classify", str(photo_path("lion.jpg")), "--model", "scheme_2/v5", "--json", **elsewhere)
    assert answered.returncode == 0, answered.stderr
    assert json.loads(answered.stdout)["model"] == "published/scheme_2/v5"
    assert (tmp_path / "other" / "published-scheme_2-v5.safetensors").is_file()


def test_the_space_goes_without_tests_and_tools(hub: StandInHub) -> None:
    sent = run(hub, "publish-space", "--repo", "somebody/space", "--zero-gpu", "--upload")
    assert sent.returncode == 0, sent.stderr
    assert hub.created[0]["type"] == "space"
    assert hub.created[0]["sdk"] == "gradio"
    names = set(hub.files)
    assert {"app.py", "README.md", "requirements.txt", "lowrank_demo/cli.py", "assets/zoo.json"} <= names
    assert not [name for name in names if name.startswith(("tests", ".ci", "assets/preview")) or name.endswith(".pyc")]
    requirements = hub.files["requirements.txt"].decode()
    assert re.search(r"^torch>=2\.8,<2\.12$", requirements, re.MULTILINE)
    assert 'python_version: "3.12"' in hub.files["README.md"].decode()
    assert hub.files["app.py"] == (ROOT / "app.py").read_bytes()


def test_a_refusal_is_one_sentence(hub: StandInHub, tmp_path: Path) -> None:
    command = ["publish-weights", V5, "--repo", "somebody/weights", "--upload"]
    hub.refuses = True
    refused = run(hub, *command)
    assert refused.returncode == 3
    assert "was not uploaded" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert "hf_secret" not in refused.stderr
    nobody = run(hub, *command, HF_TOKEN="", HF_HOME=str(tmp_path))
    assert nobody.returncode == 3
    assert "no Hub token" in nobody.stderr
    unreachable = run(hub, *command, HF_ENDPOINT="http://127.0.0.1:9")
    assert unreachable.returncode == 3
    assert "was not uploaded" in unreachable.stderr
    wrong = run(hub, "publish-weights", f"{V5}@3-5-5-5-5-20-20-9", "--repo", "a/b")
    assert wrong.returncode == 1
    assert "is a truncated model" in wrong.stderr
    unnamed = run(hub, "publish-weights", V5, "--repo", "a b/c", "--upload")
    assert unnamed.returncode == 1
    assert '"a b/c" is not the name of a repository; expected owner/name.' in unnamed.stderr


def test_front_matter_and_requirements_agree(tmp_path: Path) -> None:
    for name in ("app.py", "LICENSE", "requirements.txt"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    for name in ("lowrank_demo", "assets"):
        (tmp_path / name).mkdir()
    (tmp_path / "README.md").write_text("---\nsdk: gradio\nsdk_version: 5.0.0\n---\n")
    target = tmp_path / "staged"
    target.mkdir()
    with pytest.raises(UsageError, match=r"sdk_version is 5\.0; expected the same"):
        stage_space(target, zero_gpu=False, source=tmp_path)
    with pytest.raises(UsageError, match=r"lacks app\.py"):
        stage_space(target, zero_gpu=False, source=tmp_path / "nowhere")


def test_only_what_fails_while_the_folder_is_filled_is_said_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def fill(folder: Path) -> None:
        (folder / "missing" / "file").write_text("x")

    with pytest.raises(NotWritten, match=r"could not be copied to .* \(No such file or directory\)"):
        staging_folder(fill).__enter__()

    def block() -> None:
        with staging_folder(lambda folder: (folder / "a").touch()) as folder:
            assert (folder / "a").exists()
            raise ConnectionError("later")

    with pytest.raises(ConnectionError, match="later"):
        block()
    assert list(tmp_path.iterdir()) == []
