"""Composes the page from its tabs."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.media import get_image
from gradio.utils import get_upload_folder
from starlette.middleware import Middleware

from ..errors import LowRankError
from ..serve.inspection import Inspection
from ..serve.limits import RequestLimits
from ..serve.service import Service
from ..serve.validations import ValidationDesk
from ..settings import ASSETS
from . import about, address, api, classify, compare, explore, figure_tools, pareto, picker, ranks, validate
from .present import summary_bar

LOCAL_ADDRESS = "http://127.0.0.1:7860"
_UPLOADS_CHECKED_SECONDS, _UPLOADS_KEPT_SECONDS = 1800, 5400
_SAMPLE = (("lion.jpg", 291), ("cheetah.jpg", 293), ("cheetah1.jpg", 293))
"""Photos that the gradio package ships and that show an ImageNet class, with its label."""
_TITLE = """<header class="lr-title"><h1>Low-rank AlexNet</h1><p>Each layer's rank was learned, not guessed.
Pick a scheme and a λ, drop photos in, and see what compression keeps and what it costs.</p></header>"""


def build_app(service: Service, url: str = LOCAL_ADDRESS) -> gr.Blocks:
    """The page and its API, ready to launch with :func:`launch_options`.

    Args:
        service: Does the work.
        url: The app's own address, for the code examples.
    """
    default = service.default_model()
    zoo = service.zoo
    inspection = Inspection(service)
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
                        cells = compare.build(
                            zoo,
                            service.compare,
                            inspection.evidence,
                            photos,
                            compare_tab,
                            service.settings.max_photos,
                        )
                    with gr.Tab("Ranks", id="ranks") as ranks_tab:
                        other = ranks.build(zoo, chosen.version, default, ranks_tab, inspection.filters)
                    with gr.Tab("Explore λ", id="explore") as explore_tab:
                        explorer = explore.build(
                            zoo,
                            chosen.version,
                            photos,
                            explore_tab,
                            inspection.spectra,
                            service.compare,
                            desk.files,
                            service.settings.max_photos,
                        )
                    with gr.Tab("Pareto", id="pareto") as pareto_tab:
                        clicks = pareto.build(
                            zoo,
                            chosen.version,
                            default,
                            job.finished,
                            lambda done: validate.reports_of(desk, done),
                            inspection.latency,
                        )
                    with gr.Tab("Validate", id="validate") as validate_tab:
                        validate.build(desk, service.models(), job, demo)
                    with gr.Tab("About", id="about") as about_tab:
                        about.build(zoo, default.id, url)

        quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
        chosen.version.change(
            lambda model: picker.status_of(service.models, model), chosen.version, [summary, chosen.note], **quiet
        )
        chosen.version.change(None, chosen.version, None, js=address.WRITE_MODEL, **quiet)
        other.change(None, other, None, js=address.WRITE_OTHER, **quiet)
        every_tab = (classify_tab, compare_tab, ranks_tab, explore_tab, pareto_tab, validate_tab, about_tab)
        for tab in every_tab:
            tab.select(None, None, None, js=address.write_tab(str(tab.id)), **quiet)

        sliders = [explorer.lambda_, explorer.mu]
        gr.on([slider.change for slider in sliders], None, sliders, None, js=address.WRITE_CUT, **quiet)

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

        def measure(model: str, cut: str, file: str | None) -> tuple[Any, ...]:
            try:
                started = desk.start(file or "", [model, cut] if cut else [])
            except LowRankError as error:
                gr.Warning(str(error))
                return gr.skip(), gr.skip(), gr.skip()
            return started, gr.Timer(active=True), gr.Tabs(selected="validate")

        explorer.measure.click(
            measure, [chosen.version, explorer.cut, explorer.file], [job.job, job.timer, tabs], **quiet
        )

        restored = [tabs, chosen.scheme, chosen.version, other, *sliders]

        def read_address(request: gr.Request) -> dict[Any, Any]:
            asked = address.read(request.query_params)
            shown: dict[Any, Any] = dict.fromkeys(restored, gr.skip())
            if asked.tab in [tab.id for tab in every_tab]:
                shown[tabs] = gr.Tabs(selected=asked.tab)
            for slider, value in zip(sliders, (asked.lambda_, asked.mu), strict=True):
                if value is not None:
                    shown[slider] = min(max(value, slider.minimum), slider.maximum)
            if asked.model or asked.other:
                try:
                    if asked.model:
                        shown |= chosen.choose(zoo.get(asked.model))
                    if asked.other:
                        shown[other] = zoo.get(asked.other).id
                except LowRankError as error:
                    gr.Warning(str(error), title="The link names a model that is not here")
            return shown

        demo.load(read_address, None, restored, **quiet)
        figure_tools.build()
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
    return {
        "theme": _theme(),
        "css_paths": ASSETS / "style.css",
        "max_file_size": max(settings.max_file_mb, settings.max_zip_mb) * 1_000_000,
        "app_kwargs": {"middleware": [limits]},
        # Each visitor or call that is remembered costs 90 kB, and 10,000 are by default.
        "state_session_capacity": 256,
        "ssr_mode": False,
        "enable_monitoring": False,
        "run_history": False,
        "show_error": True,
        # The endpoints as tools for language models, where the extra "mcp" is installed.
        "mcp_server": importlib.util.find_spec("mcp") is not None,
        "footer_links": ["api", "settings"],
    }


def _theme() -> gr.Theme:
    """Soft, with fonts that nothing fetches; text and radio buttons have the contrast that WCAG asks for."""
    system = ["system-ui", "-apple-system", "Segoe UI", "sans-serif"]
    soft = gr.themes.Soft(primary_hue="blue", font=system, font_mono=["ui-monospace", "monospace"])
    return soft.set(
        body_background_fill="*neutral_50",  # blocks are white: where photos can be dropped is seen
        body_text_color_subdued="*neutral_500",
        body_text_color_subdued_dark="*neutral_300",
        block_info_text_color="*neutral_500",
        block_title_text_color="*primary_700",
        block_label_text_color="*primary_700",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        checkbox_label_background_fill_selected="*primary_600",
        checkbox_border_width="1px",
        checkbox_border_color="*neutral_500",
        checkbox_border_color_dark="*neutral_400",
    )
