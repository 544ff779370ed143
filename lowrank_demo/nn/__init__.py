"""The networks in torch: AlexNet, dense and low-rank; weight files; the forms used for inference."""

import sys

# OpenVINO reports each import over the network if Python finds its telemetry package. This hides the package.
sys.modules.setdefault("openvino_telemetry", None)  # pyright: ignore[reportArgumentType]
