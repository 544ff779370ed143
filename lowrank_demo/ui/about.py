"""The *About* tab."""

from __future__ import annotations

import gradio as gr

from ..models.cards import ModelCard
from .page import Page

_TEXT = """
### What this is
The models of **Yerlan Idelbayev and Miguel Á. Carreira-Perpiñán, "Low-Rank Compression of Neural Nets: Learning the
Rank of Each Layer", CVPR 2020**: AlexNets whose layers were each replaced by a product of two smaller ones. How small
is the *rank* of the layer, and the paper's point is that the ranks are *learned*: training minimises the loss plus
λ times the FLOPs, so that each layer keeps the rank it is worth. A larger λ gives a faster and less exact network.

### The two schemes
A convolution with n filters of m × k × k weights is seen as a matrix, and the matrix is factored as **U·V**.

| | the matrix | V | U |
|---|---|---|---|
| **Scheme 1** | n × (m·k·k) | k × k convolution, m to r channels | 1 × 1 convolution, r to n channels |
| **Scheme 2** | (n·k) × (m·k) | 1 × k convolution, m to r channels | k × 1 convolution, r to n channels |

Linear layers are matrices already: m to r to n. FLOPs here are multiply-accumulates of convolution and linear layers
for one 227 × 227 image, as in the paper.

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
`/ranks` and `/pareto` answer the figures behind the other two tabs; *Use via API* at the foot of the page lists all.

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
The app is MIT-licensed. Photos that are dropped here are used for the answer alone and deleted within two hours.
"""


def build(page: Page, tab: gr.Tab) -> None:
    """Build the tab. Each provenance is shown once."""
    service = page.desk.service
    first: dict[tuple[str, str], ModelCard] = {}
    for card in service.zoo:
        first.setdefault((card.family, card.provenance), card)
    families = "\n".join(
        f"- **{card.family if card.published else card.id}**: {card.provenance} Licence: {card.licence}."
        for card in first.values()
    )
    text = _TEXT.format(families=families, model=service.default_model().id, url=page.url)
    gr.Markdown(text, elem_id="lr-about")
