"""Write a model as a folder for the Hub and ``LowRankAlexNet.from_pretrained``: weights, configuration, model card."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from huggingface_hub import EvalResult, ModelCardData
from huggingface_hub import ModelCard as HubCard
from safetensors import SafetensorError

from ..errors import NotWritten, UsageError
from ..lowrank.load import load_network
from ..models.architecture import DENSE_MACS
from ..models.cards import ModelCard, scheme_title
from ..models.store import LocalFile
from ..runtime.words import reason

_TEMPLATE = """---
{{ card_data }}
---

# Low-rank AlexNet, {{ name }}

{{ provenance }} {{ note }}

AlexNet with batch normalisation in which each layer is a product of two factors (Idelbayev & Carreira-Perpiñán,
"Low-Rank Compression of Neural Nets: Learning the Rank of Each Layer", CVPR 2020). {{ ranks_from }}

| | |
|---|---|
| ranks of conv1..conv5, fc6..fc8 | {{ ranks }} |
| MACs per image | {{ macs }} million (dense network: {{ dense }} million) |
| parameters | {{ params }} million |

```python
from lowrank_demo.nn.alexnet import LowRankAlexNet

network = LowRankAlexNet.from_pretrained("FOLDER_OR_REPOSITORY")  # logits of float [n, 3, 227, 227]
```

Input: RGB, shortest edge 256, centre crop 227, ImageNet mean and standard deviation.
"""


def write_hub_folder(card: ModelCard, file: LocalFile, folder: Path) -> None:
    """Write ``model.safetensors`` (float32), ``config.json`` and ``README.md`` to a new folder, all or nothing.

    Args:
        card: The model.
        file: Its weight file.
        folder: The new folder.

    Raises:
        UsageError: The folder exists, or cannot be made there.
        WeightsRefused: The file is not what the card describes.
        NotWritten: The folder cannot be written, for example because the disk is full.
    """
    if folder.exists():
        raise UsageError(f"{folder} already exists; expected a new folder: remove it or choose another name.")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        place = tempfile.TemporaryDirectory(prefix=".lowrank-", dir=folder.parent)
    except OSError as error:
        raise UsageError(f"{folder} cannot be written ({reason(error)}); choose another place.") from error
    try:
        with place as temporary:
            network = load_network(card, file)
            finished = Path(temporary) / "finished"
            finished.mkdir()
            (finished / "README.md").write_text(_readme(card), encoding="utf-8")
            network.save_pretrained(finished)
            shutil.move(finished, folder)
    except (OSError, SafetensorError) as error:
        raise NotWritten(
            f"{folder} cannot be written ({reason(error)}); free some space or choose another folder."
        ) from error


def _readme(card: ModelCard) -> str:
    measured = [(m.dataset, m.top1, m.top5) for m in card.measured]
    if card.published:
        measured.insert(0, ("ImageNet validation set", card.published.top1, card.published.top5))
    results = [
        EvalResult(
            task_type="image-classification",
            dataset_type="imagefolder",
            dataset_name=name,
            # Without it, all results appear under the name of the first data set.
            dataset_config=name,
            metric_type="accuracy",
            metric_name=metric,
            metric_value=round(1 - error / 100, 4),
        )
        for name, *errors in measured
        for metric, error in zip(("top-1 accuracy", "top-5 accuracy"), errors, strict=True)
    ]
    family = f"{card.family}, truncated" if card.truncated_from else card.family
    data = ModelCardData(
        license=card.licence.lower() if card.licence in ("MIT", "Apache-2.0") else "other",
        library_name="pytorch",
        pipeline_tag="image-classification",
        tags=["low-rank", "model-compression", "alexnet"],
        model_name=card.id if results else None,
        eval_results=results or None,
    )
    return str(
        HubCard.from_template(
            card_data=data,
            template_str=_TEMPLATE,
            name=f"{scheme_title(card.scheme)} {card.version} ({family})",
            provenance=card.provenance,
            note=card.note,
            ranks_from=(
                f"It is a cut of {card.version}, whose ranks were learned at λ = {card.lambda_text}."
                if card.truncated_from
                else f"The rank of each layer was learned, at λ = {card.lambda_text}."
            ),
            ranks=", ".join(map(str, card.ranks)),
            macs=f"{card.cost.macs / 1e6:.2f}",
            dense=f"{DENSE_MACS / 1e6:.0f}",
            params=f"{card.cost.params / 1e6:.2f}",
        )
    )
