"""The named endpoints of the API: JSON for programs, from the same objects as the page."""

from __future__ import annotations

import base64
import contextlib
import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar
from urllib.parse import unquote

import gradio as gr
from gradio.utils import get_upload_folder

from ..errors import LowRankError, UsageError
from ..serve.answers import Photo
from ..serve.payloads import model_json, pareto_json, predictions_json, ranks_json, validation_json
from .page import Desk

_FILE_ROUTE = "/gradio_api/file="


def build(desk: Desk) -> None:
    """Register the endpoints of classification, figures and validation."""
    service, validations = desk.service, desk.validations

    @_in_one_sentence
    def classify(files: list[gr.FileData], model: str = "") -> list[dict[str, Any]]:
        """Classify photos: for each, the five likeliest ImageNet classes with probabilities, decoder, device, timings.

        Args:
            files: Photos of any common format.
            model: Id as family/scheme/version; empty for the best one whose weights are here.
        """
        card = service.zoo.get(model) if model else service.default_model()
        photos = [_photo(file) for file in files]
        return predictions_json(photos, service.classify(photos, card))

    @_in_one_sentence
    def ranks(model: str) -> dict[str, Any]:
        """Rank, full rank, MACs, parameters and factor shapes of every layer of one model.

        Args:
            model: Id as family/scheme/version; /models lists them.
        """
        return ranks_json(service.zoo.get(model))

    def pareto() -> dict[str, Any]:
        """MFLOPs and published errors of every published model, and of the uncompressed reference."""
        return pareto_json(service.zoo)

    def models() -> list[dict[str, Any]]:
        """Every model card: ranks, MACs, parameters, published figures, and where its weights are now."""
        return [model_json(status) for status in service.models()]

    @_in_one_sentence
    def validate(file: str, models: list[str]) -> dict[str, Any]:
        """Start a validation of one or more models on one of the server's LMDB files, or put it in the queue.

        Args:
            file: A file's name, as an unknown name's error lists them.
            models: Ids as family/scheme/version.

        Returns:
            ``{"job": id}``, for /validation_status and /cancel_validation.
        """
        return {"job": validations.start(file, [service.zoo.get(model) for model in models])}

    @_in_one_sentence
    def validation_status(job: str) -> dict[str, Any]:
        """State, place in the queue, progress, errors so far, and the report once there is one.

        Args:
            job: What /validate answered.
        """
        return validation_json(validations.status(job))

    @_in_one_sentence
    def cancel_validation(job: str) -> dict[str, Any]:
        """Stop a validation; answers its state, with the report of the part that was done once it has stopped.

        Args:
            job: What /validate answered.
        """
        validations.cancel(job)
        return validation_json(validations.status(job))

    gr.api(classify, api_name="classify", concurrency_limit=4)
    for endpoint in (ranks, pareto, models, validate, validation_status, cancel_validation):
        gr.api(endpoint, api_name=endpoint.__name__, concurrency_limit=8)


Answer = TypeVar("Answer")
Arguments = ParamSpec("Arguments")


def _in_one_sentence(endpoint: Callable[Arguments, Answer]) -> Callable[Arguments, Answer]:
    """Turn our own errors into the endpoint's one-sentence error; the signature stays, for the page on the API."""

    @functools.wraps(endpoint)
    def answer(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Answer:
        try:
            return endpoint(*args, **kwargs)
        except LowRankError as error:
            raise gr.Error(str(error), print_exception=False) from error

    return answer


def _photo(file: Any) -> Photo:
    """Return a file that was sent as data, or uploaded and named by its path or address here. Nothing is fetched.

    Raises:
        UsageError: It is anything else, such as a path outside the upload folder.
    """
    named = str(file.get("path", "")) if isinstance(file, dict) else str(file)
    _, is_data, encoded = named.partition(";base64,") if named.startswith("data:") else ("", "", "")
    if is_data:
        with contextlib.suppress(ValueError):
            data = base64.b64decode(encoded, validate=True)
            return Photo("photo", lambda: data)
    _, is_address, uploaded = named.partition(_FILE_ROUTE)
    path = os.path.realpath(unquote(uploaded) if is_address else named) if named else ""
    if not path or not Path(path).is_relative_to(os.path.realpath(get_upload_folder())):
        raise UsageError(
            "The file was not uploaded here; expected files sent with gradio_client's handle_file, or over MCP a "
            "data:…;base64 address, or the one that an upload was given."
        )
    return Photo.from_file(Path(path))
