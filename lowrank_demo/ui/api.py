"""The named endpoints of the API: JSON for programs, from the same objects as the page."""

from __future__ import annotations

import base64
import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar
from urllib.parse import unquote

import gradio as gr
from gradio.components.api_component import Api
from gradio.utils import get_function_description, get_upload_folder

from ..errors import LowRankError, UsageError
from ..runtime.schema import shown
from ..serve.answers import Photo
from ..serve.payloads import model_json, pareto_json, predictions_json, ranks_json, validation_json
from ..serve.places import ANSWERED
from .page import Desk

_FILE_ROUTE = "/gradio_api/file="
# "Use via API" begins each description with a sentence of its own that says nothing here.
_DESCRIBE = r"""
document.addEventListener('lr-changed', () => {
  for (const note of document.querySelectorAll('.api-docs .desc')) {
    const own = note.textContent.replace(/^The (input|output) value that [a-z ]+ "[^"]*" Api\s+component\.\s*/, '');
    if (own !== note.textContent) note.textContent = own;
  }
});
"""


def build(desk: Desk, demo: gr.Blocks) -> None:
    """Register the endpoints of classification, figures and validation."""
    service, validations = desk.service, desk.validations

    @_in_one_sentence
    def classify(files: list[gr.FileData], model: str = "") -> list[dict[str, Any]]:
        """Classify photos: return each one's five likeliest ImageNet classes, probabilities, decoder, device, timings.

        Args:
            files: Photos in any common format; one photo needs no list.
            model: Id, as family/scheme/version; leave it empty for the best model whose weights are on this server.
        """
        card = service.zoo.get(model) if model else service.default_model()
        photos = _photos(files)
        return predictions_json(photos, service.classify(photos, card))

    @_in_one_sentence
    def ranks(model: str) -> dict[str, Any]:
        """Return the rank, full rank, MACs, parameters and factor shapes of each layer of a model.

        Args:
            model: Id, as family/scheme/version; /models lists them.
        """
        return ranks_json(service.zoo.get(model))

    def pareto() -> dict[str, Any]:
        """Return the MFLOPs and published errors of every published model and of the uncompressed reference."""
        return pareto_json(service.zoo)

    def models() -> list[dict[str, Any]]:
        """List every model: ranks, MACs, parameters, published figures, and where its weights are now."""
        return [model_json(status) for status in service.models()]

    @_in_one_sentence
    def validate(file: str, models: list[str]) -> dict[str, Any]:
        """Validate one or more models on one of the server's LMDB files, now or when the queue reaches it.

        Args:
            file: Name of the file. The error for an unknown name lists the known ones.
            models: Ids, as family/scheme/version.

        Returns:
            An object with the validation's id as "job", for /validation_status and /cancel_validation.
        """
        return {"job": validations.start(file, [service.zoo.get(model) for model in models])}

    @_in_one_sentence
    def validation_status(job: str) -> dict[str, Any]:
        """Return a validation's state: place in the queue, progress, errors so far, and the report once there is one.

        Args:
            job: The id that /validate returned.
        """
        return validation_json(validations.status(job))

    @_in_one_sentence
    def cancel_validation(job: str) -> dict[str, Any]:
        """Stop a validation and return its state. Once it has stopped, the state has a report on what was measured.

        Args:
            job: The id that /validate returned.
        """
        validations.cancel(job)
        return validation_json(validations.status(job))

    gr.HTML("", js_on_load=_DESCRIBE, visible="hidden")
    _register(demo, classify, ANSWERED)
    for endpoint in (ranks, pareto, models, validate, validation_status, cancel_validation):
        _register(demo, endpoint, 8)


def _register(demo: gr.Blocks, endpoint: Callable[..., Any], concurrency_limit: int) -> None:
    """Register an endpoint under its name. Its docstring names the parameters, which Gradio would only number."""
    registered = gr.api(endpoint, api_name=endpoint.__name__, concurrency_limit=concurrency_limit)
    _, descriptions, _ = get_function_description(endpoint)
    for component, (name, description) in zip(demo.fns[registered["id"]].inputs, descriptions.items(), strict=True):
        assert isinstance(component, Api)
        component.label = name
        component.api_info()["additional_description"] = description


Answer = TypeVar("Answer")
Arguments = ParamSpec("Arguments")


def _in_one_sentence(endpoint: Callable[Arguments, Answer]) -> Callable[Arguments, Answer]:
    """Turn this package's errors into an answer of one sentence. Keep the signature, because Gradio documents it."""

    @functools.wraps(endpoint)
    def answer(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Answer:
        try:
            return endpoint(*args, **kwargs)
        except LowRankError as error:
            raise gr.Error(str(error), print_exception=False) from error

    return answer


def not_uploaded() -> UsageError:
    """Return the error that says how to send files."""
    return UsageError(
        "The file was not uploaded here; expected a file sent with gradio_client's handle_file, the address that an "
        "upload returned, or a data:image/jpeg;base64,… address."
    )


def _photos(files: Any) -> list[Photo]:
    """Return the files of a request, or its one file.

    Raises:
        UsageError: It holds something else; see :func:`_photo`.
    """
    given = [files] if isinstance(files, (str, dict)) else files
    if not isinstance(given, list):
        raise UsageError(f"files is {shown(files)}; expected a list of photos.")
    return [_photo(file) for file in given]


def _photo(file: Any) -> Photo:
    """Return a photo sent as data, or an uploaded one, which its path or address names. Nothing is fetched.

    Raises:
        UsageError: It is neither; for example, its path is outside the upload folder.
    """
    path_of = file.get("path") if isinstance(file, dict) else file
    named = path_of if isinstance(path_of, str) else ""
    _, is_data, encoded = named.partition(";base64,") if named.startswith("data:") else ("", "", "")
    if is_data:
        try:
            data = base64.b64decode(encoded, validate=True)
        except ValueError as error:
            raise UsageError(
                f"The data of a photo is not base64 ({error}); expected data:image/jpeg;base64,…."
            ) from error
        return Photo.from_bytes(data)
    _, is_address, uploaded = named.partition(_FILE_ROUTE)
    local = unquote(uploaded) if is_address else named
    path = os.path.realpath(local) if local and "\0" not in local else ""
    if not path or not Path(path).is_relative_to(os.path.realpath(get_upload_folder())):
        raise not_uploaded()
    return Photo.from_file(Path(path))
