"""The app, local and on a Hugging Face Space: ``python app.py``."""

from __future__ import annotations

import os
import sys
import threading

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")

try:
    # On a Space with a GPU lent for single calls; it has to come before anything that touches CUDA.
    import spaces  # pyright: ignore[reportMissingImports]

    on_gpu = spaces.GPU if os.environ.get("SPACES_ZERO_GPU") else None
except ImportError:
    on_gpu = None


from lowrank_demo.errors import LowRankError
from lowrank_demo.runtime.allocator import share_arenas
from lowrank_demo.serve.service import Service
from lowrank_demo.settings import Settings


def main() -> int:
    """Serve the app until it is stopped."""
    share_arenas()
    try:
        service = Service(Settings.from_environment(), on_gpu)
        from lowrank_demo.ui.app import LOCAL_ADDRESS, build_app, launch_options, make_desk

        # On a Space the code examples name its own address.
        host = os.environ.get("SPACE_HOST")
        desk = make_desk(service)
        demo = build_app(desk, f"https://{host}" if host else LOCAL_ADDRESS)
    except LowRankError as error:
        print(f"app: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        print(f"app: {error.filename or 'A file'} cannot be written: {error.strerror}.", file=sys.stderr)
        return 1
    threading.Thread(target=service.warm_up, daemon=True).start()
    demo.launch(**launch_options(desk))
    return 0


if __name__ == "__main__":
    sys.exit(main())
