"""AlexNet with few channels, for tests: the same layers, kernels and image sizes, a hundredth of the work."""

from __future__ import annotations

from dataclasses import replace

from lowrank_demo.models.architecture import LAYERS, Layer

_OUTPUTS = (16, 24, 32, 32, 24, 64, 64, 1000)


def _narrow() -> tuple[Layer, ...]:
    """Return the layers of AlexNet with these outputs; the inputs of each are the outputs of the one before it."""
    layers: list[Layer] = []
    inputs = LAYERS[0].inputs
    for layer, outputs in zip(LAYERS, _OUTPUTS, strict=True):
        if layer.name == "fc6":
            inputs *= 6 * 6  # flattened
        layers.append(replace(layer, inputs=inputs, outputs=outputs))
        inputs = outputs
    return tuple(layers)


SMALL_LAYERS = _narrow()
