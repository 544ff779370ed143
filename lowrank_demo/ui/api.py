"""The named endpoints: JSON for programs, from the same service as the page."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder

from ..answers import model_json, pareto_json, predictions_json, ranks_json
from ..errors import LowRankError, UsageError
from ..service import Photo, Service


def build(service: Service) -> None:
    """Register ``/classify``, ``/ranks``, ``/pareto`` and ``/models``."""

    def classify(files: list[gr.FileData], model: str = "") -> list[dict[str, Any]]:
        """Classify photos: for each, the five likeliest ImageNet classes with probabilities, decoder, device, timings.

        Args:
            files: Photos of any common format.
            model: Id as family/scheme/version; empty for the best one whose weights are here.
        """
        try:
            photos = [_photo(file) for file in files]
            return predictions_json(photos, service.classify(photos, model or service.default_model().id))
        except LowRankError as error:
            raise gr.Error(str(error), print_exception=False) from error

    def ranks(model: str) -> dict[str, Any]:
        """Rank, full rank, MACs, parameters and factor shapes of every layer of one model."""
        try:
            return ranks_json(service.zoo.get(model))
        except LowRankError as error:
            raise gr.Error(str(error), print_exception=False) from error

    def pareto() -> dict[str, Any]:
        """MFLOPs and published errors of every published model, and of the uncompressed reference."""
        return pareto_json(service.zoo)

    def models() -> list[dict[str, Any]]:
        """Every model card: ranks, MACs, parameters, published figures, and where its weights are now."""
        return [model_json(status) for status in service.models()]

    gr.api(classify, api_name="classify", concurrency_limit=4)
    for endpoint in (ranks, pareto, models):
        gr.api(endpoint, api_name=endpoint.__name__, concurrency_limit=8)


def _photo(file: Any) -> Photo:
    """An uploaded file; a path outside the upload folder is refused, whatever it names."""
    path = os.path.realpath(str(file.get("path", ""))) if isinstance(file, dict) else ""
    if not path or not Path(path).is_relative_to(os.path.realpath(get_upload_folder())):
        raise UsageError("The file was not uploaded here; expected files sent with gradio_client's handle_file.")
    return Photo(Path(path).name, Path(path).read_bytes)
