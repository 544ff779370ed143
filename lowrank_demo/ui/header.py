"""The head of the page: what the paper found, and where to read it."""

from __future__ import annotations

from html import escape

import gradio as gr

from ..models.zoo import Zoo

PAPER = (
    "https://openaccess.thecvf.com/content_CVPR_2020/html/"
    "Idelbayev_Low-Rank_Compression_of_Neural_Nets_Learning_the_Rank_of_Each_CVPR_2020_paper.html"
)
CODE = "https://github.com/UCMerced-ML/LC-model-compression"
BIBTEX = """@inproceedings{IdelbayCarreir20a,
  author    = {Yerlan Idelbayev and Miguel {\\'A}. Carreira-Perpi{\\~n}{\\'a}n},
  title     = {Low-Rank Compression of Neural Nets: Learning the Rank of Each Layer},
  booktitle = {IEEE Conf. Computer Vision and Pattern Recognition (CVPR)},
  year      = {2020},
  pages     = {8049--8059}
}"""
_COPY = """
const button = element.querySelector('.lr-bibtex');
button.addEventListener('click', async () => {
  try {
    await navigator.clipboard.writeText(button.dataset.text);
    button.textContent = 'Copied';
  } catch {
    window.prompt('Copy this:', button.dataset.text);
  }
  setTimeout(() => { button.textContent = 'BibTeX'; }, 2000);
});
"""


def build(zoo: Zoo) -> None:
    """Build the head. Its figures are those of the most compressed published model."""
    best = min((card for card in zoo if card.published), key=lambda card: card.cost.macs)
    published, reference = best.published, zoo.reference
    assert published
    gr.HTML(
        f"""<header class="lr-title"><h1>Low-rank AlexNet</h1>
<p>Learning the rank of each layer makes AlexNet <b>{published.flops_reduction:.1f}× cheaper <em>and</em> better</b>:
{published.top1:.1f}&nbsp;% top-1 error, where the uncompressed {escape(reference.name)} has
{reference.top1:.1f}&nbsp;%.
<span>Idelbayev &amp; Carreira-Perpiñán, CVPR 2020:</span>
<a href="{PAPER}" target="_blank" rel="noopener">paper</a>
<a href="{CODE}" target="_blank" rel="noopener">authors’ code</a>
<button type="button" class="lr-bibtex" data-text="{escape(BIBTEX)}">BibTeX</button></p></header>""",
        js_on_load=_COPY,
        elem_id="lr-head",
    )
