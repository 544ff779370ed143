"""The *How it works* tab."""

from __future__ import annotations

import json
from collections import Counter

import gradio as gr

from ..models.cards import ModelCard
from .events import QUIET
from .page import Page

_ADDRESS = "http://127.0.0.1:7860"
# Only the browser knows the visitor's own: the server may stand behind another name, port or prefix.
_WITH_ADDRESS = """() => %s.replaceAll(
  %s, window.location.origin + window.location.pathname.replace(/\\/+$/, ''))"""
_TEXT = """
### What this is
The models of **Yerlan Idelbayev and Miguel Á. Carreira-Perpiñán, "Low-Rank Compression of Neural Nets: Learning the
Rank of Each Layer", CVPR 2020**: AlexNets in which two smaller layers replace each layer. The number of channels
between the two is the layer's *rank*. The paper *learns* the ranks: training minimises the loss plus λ times the FLOPs,
so that each layer keeps a rank that is worth its cost. A larger λ gives a faster and less accurate network.

### The two schemes
The weights of a convolution, n filters of m × k × k, are reshaped into a matrix, which is factored as **U·V**.

| | the matrix | V | U |
|---|---|---|---|
| **Scheme 1** | n × (m·k·k) | k × k convolution, m to r channels | 1 × 1 convolution, r to n channels |
| **Scheme 2** | (n·k) × (m·k) | 1 × k convolution, m to r channels | k × 1 convolution, r to n channels |

The weights of a linear layer are already a matrix: m to r to n. FLOPs here are the multiply-accumulate operations of
all convolutions and linear layers for one 227 × 227 image, as in the paper.

### Whose weights
{families}

### From code
```python
from lowrank_demo import low_rank_alexnet
network = low_rank_alexnet("scheme_2", "v5", pretrained=True)
```
```python
from gradio_client import Client, handle_file
client = Client("{url}")
client.predict(files=[handle_file("photo.jpg")], model="{model}", api_name="/classify")
client.predict(api_name="/models")
```
`/ranks` and `/pareto` return the numbers behind those two tabs. *Use via API* at the foot of the page lists
every function.

### Citation
```bibtex
@inproceedings{{IdelbayCarreir20a,
  author    = {{Yerlan Idelbayev and Miguel {{\\'A}}. Carreira-Perpi{{\\~n}}{{\\'a}}n}},
  title     = {{Low-Rank Compression of Neural Nets: Learning the Rank of Each Layer}},
  booktitle = {{IEEE Conf. Computer Vision and Pattern Recognition (CVPR)}},
  year      = {{2020}},
  pages     = {{8049--8059}}
}}
```
### Licence
The app is MIT-licensed. Photos that you drop here are used only to answer you, and are deleted within two hours.
"""


def build(page: Page, tab: gr.Tab) -> None:
    """Build the tab. A provenance is shown once, under its family or the models that share it."""
    service = page.desk.service
    alike: dict[tuple[str, str, str], list[ModelCard]] = {}
    for card in service.zoo:
        alike.setdefault((card.family, card.provenance, card.licence), []).append(card)
    parts = Counter(family for family, _, _ in alike)
    families = "\n".join(
        f"- **{family if parts[family] == 1 else ', '.join(card.id for card in cards)}**: {provenance} "
        f"Licence: {licence}."
        for (family, provenance, licence), cards in alike.items()
    )
    text = _TEXT.format(families=families, model=service.default_model().id, url=_ADDRESS)
    shown = gr.Markdown(text, elem_id="lr-how")
    page.loaded(None, None, shown, js=_WITH_ADDRESS % (json.dumps(text), json.dumps(_ADDRESS)), **QUIET)
