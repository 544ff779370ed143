"""The networks in torch: AlexNet, dense and low-rank; weight files; the forms used for inference."""

import sys

# OpenVINO reports over the network that it was imported, unless Python finds no package for it. So it finds none.
sys.modules.setdefault("openvino_telemetry", None)  # pyright: ignore[reportArgumentType]
