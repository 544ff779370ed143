"""Composes the page from its tabs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr
from gradio.media import get_image
from gradio.utils import get_upload_folder
from starlette.middleware import Middleware

from ..errors import LowRankError
from ..service import Service
from ..settings import ASSETS
from ..validation_desk import ValidationDesk
from ..zoo import DEFAULT_FAMILY
from . import about, api, classify, compare, pareto, picker, ranks, validate
from .limits import RequestLimits
from .present import summary_bar

LOCAL_ADDRESS = "http://127.0.0.1:7860"
_UPLOADS_CHECKED_SECONDS, _UPLOADS_KEPT_SECONDS = 1800, 5400
_SAMPLE = (("lion.jpg", 291), ("cheetah.jpg", 293), ("cheetah1.jpg", 293))
"""Photos that the gradio package ships and that show an ImageNet class, with its label."""
_TITLE = """<header class="lr-title"><h1>Low-rank AlexNet</h1><p>Each layer's rank was learned, not guessed.
Pick a scheme and a λ, drop photos in, and see what compression keeps and what it costs.</p></header>"""

# The address follows the choice, so that it can be bookmarked and sent; other parameters (the theme) stay.
_WRITE_ADDRESS = """(id) => {
  const [family, scheme, version] = id.split('/');
  const url = new URL(window.location);
  url.searchParams.set('scheme', scheme.replace('scheme_', ''));
  url.searchParams.set('version', version);
  if (family === 'published') url.searchParams.delete('family'); else url.searchParams.set('family', family);
  window.history.replaceState(null, '', url);
}"""


# The first tab is selected once by itself, before the address was read: only a visitor's own choice is written.
_WRITE_TAB = """() => {{
  if (document.activeElement === document.body) return;
  const url = new URL(window.location);
  url.searchParams.set('tab', '{}');
  window.history.replaceState(null, '', url);
}}"""


def build_app(service: Service, url: str = LOCAL_ADDRESS) -> gr.Blocks:
    """The page and its API, ready to launch with :func:`launch_options`.

    Args:
        service: Does the work.
        url: The app's own address, for the code examples.
    """
    default = service.default_model()
    zoo = service.zoo
    desk = ValidationDesk(service, [(Path(get_image(name)), label) for name, label in _SAMPLE])
    with gr.Blocks(title="Low-rank AlexNet", delete_cache=(_UPLOADS_CHECKED_SECONDS, _UPLOADS_KEPT_SECONDS)) as demo:
        gr.HTML(_TITLE)
        job = validate.job_state()
        with gr.Row(elem_id="lr-main"):
            with gr.Column(scale=1, min_width=300, elem_id="lr-picker"):
                chosen = picker.build(ASSETS, service.models, default)
            with gr.Column(scale=3, min_width=320):
                statuses = {status.card.id: status for status in service.models()}
                summary = gr.HTML(summary_bar(statuses[default.id]), elem_id="lr-summary")
                with gr.Tabs(elem_id="lr-tabs") as tabs:
                    with gr.Tab("Classify", id="classify") as classify_tab:
                        photos, results = classify.build(
                            service.classify, chosen.version, service.settings.max_photos, service.decoder_note
                        )
                    with gr.Tab("Compare", id="compare") as compare_tab:
                        cells = compare.build(service.compare, photos, compare_tab, service.settings.max_photos)
                    with gr.Tab("Ranks", id="ranks") as ranks_tab:
                        ranks.build(zoo, chosen.version, default)
                    with gr.Tab("Pareto", id="pareto") as pareto_tab:
                        clicks = pareto.build(
                            zoo,
                            chosen.version,
                            default,
                            job.finished,
                            lambda done: validate.report_of(desk, done),
                            service.latency,
                        )
                    with gr.Tab("Validate", id="validate") as validate_tab:
                        validate.build(desk, service.models(), job, demo)
                    with gr.Tab("About", id="about") as about_tab:
                        about.build(zoo, default.id, url)

        quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
        chosen.version.change(
            lambda model: picker.status_of(service.models, model), chosen.version, [summary, chosen.note], **quiet
        )
        chosen.version.change(None, chosen.version, None, js=_WRITE_ADDRESS, **quiet)
        every_tab = (classify_tab, compare_tab, ranks_tab, pareto_tab, validate_tab, about_tab)
        for tab in every_tab:
            tab.select(None, None, None, js=_WRITE_TAB.format(tab.id), **quiet)

        def after_answer(model: str) -> tuple[str, str, gr.Radio]:
            # The first use of a model may have downloaded it.
            return (
                *picker.status_of(service.models, model),
                picker.refreshed(service.models()),
            )

        results.change(after_answer, chosen.version, [summary, chosen.note, chosen.version], **quiet)

        def on_click(event: gr.EventData) -> dict[Any, Any]:
            return chosen.choose(zoo.get(str(event.model)))

        clicks.click(on_click, None, [chosen.scheme, chosen.version], **quiet)

        def open_model(event: gr.EventData) -> dict[Any, Any]:
            return {**chosen.choose(zoo.get(str(event.model))), tabs: gr.Tabs(selected="classify")}

        cells.click(open_model, None, [chosen.scheme, chosen.version, tabs], **quiet)

        def read_address(request: gr.Request) -> dict[Any, Any]:
            asked = {key: str(request.query_params.get(key, "")) for key in ("family", "scheme", "version", "tab")}
            shown = {
                tabs: gr.Tabs(selected=asked["tab"]) if asked["tab"] in [tab.id for tab in every_tab] else gr.skip()
            }
            if not asked["scheme"] and not asked["version"]:
                return {**shown, chosen.scheme: gr.skip(), chosen.version: gr.skip()}
            scheme = asked["scheme"].removeprefix("scheme_")
            try:
                card = zoo.get(f"{asked['family'] or DEFAULT_FAMILY}/scheme_{scheme}/{asked['version']}")
            except LowRankError as error:
                gr.Warning(str(error), title="The link names a model that is not here")
                return {**shown, chosen.scheme: gr.skip(), chosen.version: gr.skip()}
            return {**shown, **chosen.choose(card)}

        demo.load(read_address, None, [tabs, chosen.scheme, chosen.version], **quiet)
        api.build(service, desk)
    demo.queue(max_size=128)
    return demo


def launch_options(service: Service) -> dict[str, Any]:
    """What ``launch`` needs for this page: look, limits, and nothing that contacts anyone."""
    settings = service.settings
    limits = Middleware(
        RequestLimits,  # pyright: ignore[reportArgumentType]
        max_bytes=settings.max_request_mb * 1_000_000,
        uploads=Path(get_upload_folder()),
        max_upload_bytes=settings.max_uploads_mb * 1_000_000,
    )
    system = ["system-ui", "-apple-system", "Segoe UI", "sans-serif"]
    return {
        "theme": gr.themes.Soft(primary_hue="blue", font=system, font_mono=["ui-monospace", "monospace"]),
        "css_paths": ASSETS / "style.css",
        "max_file_size": max(settings.max_file_mb, settings.max_zip_mb) * 1_000_000,
        "app_kwargs": {"middleware": [limits]},
        # Each visitor or call that is remembered costs 90 kB, and 10,000 are by default.
        "state_session_capacity": 256,
        "ssr_mode": False,
        "enable_monitoring": False,
        "run_history": False,
        "show_error": True,
        "footer_links": ["api", "settings"],
    }
