"""The *How it works* tab: the paper's story, whose weights these are, and how to use them from code."""

from __future__ import annotations

import json
from functools import cache

import gradio as gr

from ..errors import LowRankError
from ..models.cards import ModelCard
from ..reproduce.results import read_results
from ..settings import ASSETS
from .events import QUIET
from .header import BIBTEX, CODE, PAPER
from .page import Page
from .present import message
from .present_run import PLAY
from .present_story import provenance_view, story_view

_ADDRESS = "http://127.0.0.1:7860"
# Only the browser knows the address that its visitor uses: the server may be behind another name, port or prefix.
_WITH_ADDRESS = """() => %s.replaceAll(
  %s, window.location.origin + window.location.pathname.replace(/\\/+$/, ''))"""
_OUTSIDE = 'target="_blank" rel="noopener"'
_HEAD = f"""<p>Yerlan Idelbayev and Miguel Á. Carreira-Perpiñán, “Low-Rank Compression of Neural Nets: Learning the Rank
of Each Layer”, CVPR 2020: <a href="{PAPER}" {_OUTSIDE}>paper</a>, <a href="{CODE}" {_OUTSIDE}>authors’ code</a>.</p>"""
_CODE = """### From Python
```python
from lowrank_demo import low_rank_alexnet
network = low_rank_alexnet("scheme_2", "v5", pretrained=True)
```
### Over the network
```python
from gradio_client import Client, handle_file
client = Client("{url}")
client.predict(files=[handle_file("photo.jpg")], model="{model}", api_name="/classify")
client.predict(api_name="/models")
```
`/ranks` and `/pareto` return the numbers behind two of these tabs. *Use via API* at the foot of the page lists every
function.

### Citing the paper
```bibtex
{bibtex}
```
### Licence
The app is MIT-licensed; each family's weights have their own, above. Photos that you drop here are used only to answer
you, and are deleted within two hours.
"""


def build(page: Page, tab: gr.Tab) -> None:
    """Build the tab. Its figures are made when it is first opened."""
    service, inspection = page.desk.service, page.desk.inspection
    text = _CODE.format(model=service.default_model().id, url=_ADDRESS, bibtex=BIBTEX)
    with gr.Column(elem_id="lr-how"):
        gr.HTML(_HEAD)
        story = gr.HTML("", js_on_load=PLAY, elem_id="lr-story")
        gr.HTML(f"<h3>Where the weights come from</h3>{provenance_view(service.zoo)}", elem_id="lr-provenance")
        code = gr.Markdown(text)

    @cache
    def made() -> str:
        card = _shown(page)
        return story_view(service.zoo, card, inspection.spectra(card), read_results(ASSETS / "lenet300.json"))

    def show() -> str:
        try:
            return made()
        except LowRankError as error:
            return message(str(error))

    page.when_open(tab, [page.loaded], show, [], [story], **QUIET)
    page.loaded(None, None, code, js=_WITH_ADDRESS % (json.dumps(text), json.dumps(_ADDRESS)), **QUIET)


def _shown(page: Page) -> ModelCard:
    """Return the model whose numbers are drawn: the most compressed bundled one of scheme 2 that is here."""
    service = page.desk.service
    ready = [card for card in service.ready_models() if card.bundled and card.scheme == "scheme_2"]
    return min(ready or [page.desk.paths.first()], key=lambda card: card.cost.macs)
