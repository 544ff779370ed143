"""``app``: the app as a local server, and on a Hugging Face Space."""

from __future__ import annotations

import argparse
import contextlib
import os
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import UsageError

_SWEEP_SECONDS = 60.0


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    app = commands.add_parser(
        "app",
        help="serve the app at http://127.0.0.1:7860",
        description="Serve the app until it is stopped. GRADIO_SERVER_NAME and GRADIO_SERVER_PORT set another address.",
    )
    app.set_defaults(command=lambda _: serve())


def serve() -> int:
    """Serve the app until it is stopped; return the exit code."""
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    # Before anything that may touch CUDA.
    lend_gpu = _gpu_lender()

    from ..runtime.allocator import share_arenas
    from ..runtime.log_limit import limit_log
    from ..serve.service import Service
    from ..serve.sweeper import UPLOADS_KEPT_SECONDS, delete_older, sweep_regularly
    from ..serve.upload_folder import upload_folder
    from ..settings import Settings

    share_arenas()
    limit_log()
    parent = Path(os.environ.get("GRADIO_TEMP_DIR") or tempfile.gettempdir())
    with contextlib.ExitStack() as ending:
        try:
            visitors = ending.enter_context(upload_folder(parent))
            uploads = visitors / "uploads"
            uploads.mkdir()
            # Gradio reads this when it is imported.
            os.environ["GRADIO_TEMP_DIR"] = str(uploads)
            service = Service(Settings.from_environment(), lend_gpu)
            service.machine.check()
            from ..serve.answers import Photo
            from ..ui.app import build_app, launch_options, make_desk
            from ..ui.stage import EXAMPLES

            desk = make_desk(service, visitors / "sets")
            ending.callback(desk.files.end)
            demo = build_app(desk)
        except OSError as error:
            raise UsageError(f"{error.filename or 'A file'} cannot be written: {error.strerror}.") from error
        started = time.time()
        sweep_regularly(
            _SWEEP_SECONDS, desk.files.sweep, lambda: delete_older(uploads, UPLOADS_KEPT_SECONDS, since=started)
        )
        warm_up = threading.Thread(target=desk.paths.warm_up, args=[Photo.from_file(EXAMPLES[0])], daemon=True)
        warm_up.start()
        try:
            with contextlib.suppress(KeyboardInterrupt):  # Gradio expects it only once the server runs
                demo.launch(**launch_options(desk))
        finally:
            # DALI and OpenVINO abort if Python exits while one of their threads works: wait, and let nobody begin.
            desk.paths.end()
            warm_up.join()
            desk.validations.end()
            service.running.take()
    return 0


def _gpu_lender() -> Callable[[Any], Any] | None:
    """Return the decorator that lends a function a GPU, on a Space with ZeroGPU; elsewhere None.

    ``spaces`` must be imported before anything touches CUDA.
    """
    try:
        import spaces  # pyright: ignore[reportMissingImports]
    except ImportError:
        return None
    return spaces.GPU if os.environ.get("SPACES_ZERO_GPU") else None
