"""The page as a whole: the layout, the tabs in their order, and the options to launch it with."""

from __future__ import annotations

import errno
import importlib.util
import logging
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
from fastapi.exceptions import RequestValidationError
from gradio.blocks import BlockFunction
from gradio.exceptions import InvalidPathError
from gradio.media import get_image
from gradio.state_holder import SessionState
from gradio.utils import get_upload_folder
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse

from ..errors import LowRankError
from ..serve.compression import Compression
from ..serve.connections import ConnectionLimits, raise_open_files
from ..serve.inspection import Inspection
from ..serve.limits import RequestLimits
from ..serve.origin import OriginPolicy
from ..serve.page_cache import PageCache
from ..serve.paths import Paths
from ..serve.routes import KnownRoutes
from ..serve.service import Service
from ..serve.upload_room import folder_bytes
from ..serve.uploads import LabelledFiles
from ..serve.validations import Validations
from ..serve.values import check_values
from ..settings import ASSETS
from . import address, api, explore, figure_tools, header, how, page, photos, ranks, stage, trade_off, validate
from .mailboxes import Mailboxes, refuse_odd_sessions
from .reports import report_route

_MIN_ITEMS = 500
"""Items that a list in a request may always have, even if fewer photos are allowed: the page sends all dropped ones. No
upload has more."""
_SAMPLE = (("lion.jpg", 291), ("cheetah.jpg", 293), ("cheetah1.jpg", 293))
"""Photos from the gradio package that show an ImageNet class, each with its label."""
_TABS = {
    "Photos": photos,
    "Ranks": ranks,
    "Explore λ": explore,
    "Trade-off": trade_off,
    "Validate": validate,
    "How it works": how,
}
# Gradio and Plotly draw when they like. One observer tells every script of the page that something was drawn.
_OBSERVE = """
new MutationObserver(() => document.dispatchEvent(new Event('lr-changed')))
  .observe(document.body, { childList: true, subtree: true });
"""


_TAB_KEYS = """
document.addEventListener('keydown', (event) => {
  const tab = event.target.closest('#lr-tabs [role=tablist] [role=tab]');
  const step = { ArrowRight: 1, ArrowLeft: -1, Home: -99, End: 99 }[event.key];
  if (!tab || !step) return;
  const tabs = [...tab.closest('[role=tablist]').querySelectorAll('[role=tab]')];
  const next = tabs[Math.min(tabs.length - 1, Math.max(0, tabs.indexOf(tab) + step))];
  event.preventDefault();
  next.click();
  next.focus();
});
"""


class _Demo(gr.Blocks):
    """The page. Every request's values are checked before Gradio handles them, and every refusal is one sentence.

    Errors from Gradio and Python may contain paths on this machine, and values that the page would show as markup.
    """

    max_items = _MIN_ITEMS
    """Largest number of items in one list of a request."""

    async def process_api(
        self, block_fn: BlockFunction | int, inputs: list[Any], *args: Any, **kwargs: Any
    ) -> dict[str, Any]:
        """Answer a request of the page or of the API."""
        listener = self.fns[block_fn] if isinstance(block_fn, int) else block_fn
        try:
            event = kwargs.get("event_data")
            check_values([inputs, event._data if event else None], self.max_items)
            return await super().process_api(block_fn, inputs, *args, **kwargs)
        except Exception as error:
            sentence = _sentence(error)
        finally:
            _forget_values(kwargs.get("state"))
            # A call of the API is a session of its own. Gradio would forget those of open pages in its place.
            if (session := kwargs.get("session_hash")) and session == kwargs.get("event_id"):
                self.state_holder.session_data.pop(session, None)
        # Raised outside the except block, so that the error does not keep the request's values alive.
        text = escape(sentence, quote=False) if listener.api_visibility == "private" else sentence
        raise gr.Error(text, print_exception=False)


def _forget_values(state: SessionState | None) -> None:
    """Forget the values of a request and of its answer.

    Gradio keeps the latest value of every component for each session that it remembers, to make links to them.
    """
    for config in state.components if state else ():
        config.get("props", {}).pop("value", None)


def _sentence(error: Exception) -> str:
    """Return what to tell a visitor about an error."""
    if isinstance(error, gr.Error):
        if "not in the list of choices" in error.message:  # Gradio lists the choices as Python literals
            return "A choice in the request is not one that the page offers; reload the page and choose again."
        return error.message
    if isinstance(error, LowRankError):
        return str(error)
    if isinstance(error, InvalidPathError) or (isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG):
        return str(api.not_uploaded())
    logging.getLogger(__name__).error("a request failed", exc_info=error)
    return (
        "The request failed, perhaps because a value has the wrong type. Check the values and try again; the server's "
        "log has the cause."
    )


def make_desk(service: Service, sets: Path) -> page.Desk:
    """Make the objects behind the page; ``sets`` is the folder for visitors' sets of photos."""
    sample = [(Path(get_image(name)), label) for name, label in _SAMPLE]
    uploads = Path(get_upload_folder())
    files = LabelledFiles(service.settings, sample, sets, lambda: folder_bytes(uploads))
    return page.Desk(service, Paths(service), Inspection(service), files, Validations(service, files))


def build_app(desk: page.Desk) -> gr.Blocks:
    """Build the page and its API, to be launched with :func:`launch_options`."""
    with _Demo(title="Low-rank AlexNet") as demo:
        demo.max_items = max(_MIN_ITEMS, desk.service.settings.max_photos)
        model = desk.paths.first().id
        shared = page.create(desk, demo, stage.create(desk, model), model)
        header.build(desk.service.zoo)
        shared.stage.render()
        shared.photos.render()
        # The first view fills this line, which stays in sight when visitors scroll down.
        gr.HTML('<div class="lr-summary"></div>', elem_id="lr-summary")
        shared.tabs.render()
        # When something changes or is selected, each listener waits for the answers of those before it: the address
        # comes first, here and in each tab, and what a visitor looks at comes before the tabs below it.
        address.build(shared, list(_TABS))
        stage.build(shared)
        with shared.tabs:
            for title, module in _TABS.items():
                name = address.tab_id(title)
                with gr.Tab(title, id=name, elem_id=f"lr-tab-{name}") as tab:
                    address.follow_tab(tab)
                    module.build(shared, tab)
        figure_tools.build()
        gr.HTML("", js_on_load=_OBSERVE + _TAB_KEYS, visible="hidden")
        api.build(desk, demo)
    # Without open routes, every call goes through the queue and its limits.
    demo.queue(max_size=128, api_open=False)
    demo._queue.pending_messages_per_session = Mailboxes(demo._queue)
    refuse_odd_sessions(demo._queue)
    # Gradio summarises these events again after every request, for a page that is switched off here.
    demo._queue.ANALYTICS_MAX_EVENTS = 1
    return demo


def launch_options(desk: page.Desk) -> dict[str, Any]:
    """Return the options that ``launch`` needs for this page: look, limits, and no contact with other servers."""
    settings = desk.service.settings
    limits = Middleware(
        RequestLimits,  # pyright: ignore[reportArgumentType]
        max_bytes=settings.max_request_mb * 1_000_000,
        # Enough for one photo of the largest size as base64, with some room to spare.
        max_json_bytes=settings.max_file_mb * 1_400_000 + 1_000_000,
        uploads=Path(get_upload_folder()),
        max_upload_bytes=settings.max_uploads_mb * 1_000_000,
        also_kept=desk.files.kept_bytes,
    )
    return {
        "theme": _theme(),
        "css_paths": ASSETS / "style.css",
        "max_file_size": max(settings.max_file_mb, settings.max_zip_mb) * 1_000_000,
        "app_kwargs": {
            "middleware": [
                Middleware(ConnectionLimits, open_files=raise_open_files()),
                Middleware(PageCache),
                Middleware(Compression),
                Middleware(OriginPolicy),
                limits,
                Middleware(KnownRoutes),
            ],
            "exception_handlers": {RequestValidationError: _not_understood},
            "routes": [report_route(desk.validations, desk.service.zoo)],
        },
        # Each visitor or call that Gradio remembers costs 90 kB, and by default it remembers 10,000.
        "state_session_capacity": 256,
        "ssr_mode": False,
        "enable_monitoring": False,
        "run_history": False,
        "show_error": True,
        # Offer the endpoints as tools for language models if the extra "mcp" is installed.
        "mcp_server": importlib.util.find_spec("mcp") is not None,
        "footer_links": ["api", "settings"],
    }


def _not_understood(_: Request, __: Exception) -> JSONResponse:
    """Answer a body that does not fit its route. FastAPI would send all of it back, three times."""
    sentence = "The request's values do not fit its route; expected those that the page's \"Use via API\" describes."
    return JSONResponse({"detail": sentence}, 422)


def _theme() -> gr.Theme:
    """Return Gradio's Soft theme with system fonts and the contrast that WCAG requires."""
    system = ["system-ui", "-apple-system", "Segoe UI", "sans-serif"]
    soft = gr.themes.Soft(primary_hue="blue", font=system, font_mono=["ui-monospace", "monospace"])
    return soft.set(
        body_background_fill="*neutral_50",  # blocks are white: visitors see where photos can be dropped
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
