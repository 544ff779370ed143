"""Read a network from its weight file: verified bytes, plain tensors only, the card's keys, shapes and dtypes."""

from __future__ import annotations

import hashlib
import io
import pickle
from collections.abc import Mapping, Sequence

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from ..errors import WeightsRefused
from ..models.architecture import LAYERS, Layer
from ..models.store import LocalFile
from ..runtime.schema import shown
from ..runtime.words import counted
from .alexnet import LowRankAlexNet
from .nested import STATISTICS, Mean, Version, form_of, mean_state, version_state

_SCALE = ".scale"
_WRAPPERS = ("module.", "_orig_mod.")
"""What DataParallel and torch.compile put before every key of the network that they wrap."""


def read_network(
    scheme: str, ranks: Sequence[int], file: LocalFile, layers: Sequence[Layer] = LAYERS
) -> LowRankAlexNet:
    """Return a network with the weights of its file: float32, on the CPU, in evaluation mode.

    Args:
        scheme: ``scheme_1`` or ``scheme_2``.
        ranks: Ranks of the weights in the file, conv1 to fc8.
        file: The verified file.
        layers: The dense layers that the network factors.

    Raises:
        WeightsRefused: The file does not hold these weights, or was changed since it was verified.
    """
    with torch.device("meta"):
        network = LowRankAlexNet(scheme, ranks, layers)
    return _filled(network, read_state_dict(file), file.path.name)


def read_version(version: Version | Mean, file: LocalFile, layers: Sequence[Layer] = LAYERS) -> LowRankAlexNet:
    """Return one version of a nested weight file: float32, on the CPU, in evaluation mode.

    Args:
        version: The version; ranks below those that it was trained at are slices of it.
        file: The verified file.
        layers: The dense layers that the network factors.

    Raises:
        WeightsRefused: The file does not hold this version, or was changed since it was verified.
    """
    name, form = file.path.name, form_of(version, layers)
    state = _version(_read_tensors(file), version, form, name)
    # Slices of a float32 file are views: safetensors would not save them.
    return _filled(form, {key: tensor.clone() for key, tensor in state.items()}, name)


def read_versions(
    versions: Sequence[Version | Mean],
    file: LocalFile,
    layers: Sequence[Layer] = LAYERS,
    device: torch.device | str = "cpu",
) -> list[LowRankAlexNet]:
    """Return several versions of a nested weight file, as :func:`read_version` does; they share their tensors.

    Args:
        versions: The versions.
        file: The verified file.
        layers: The dense layers that the networks factor.
        device: Where the networks are.

    Raises:
        WeightsRefused: The file does not hold one of them, or was changed since it was verified.
    """
    name = file.path.name
    tensors = {key: tensor.to(device) for key, tensor in _dequantise(_read_tensors(file), name).items()}
    forms = [form_of(version, layers) for version in versions]
    return [
        _filled(form, _version(tensors, version, form, name), name)
        for version, form in zip(versions, forms, strict=True)
    ]


def _version(
    tensors: Mapping[str, Tensor], version: Version | Mean, form: LowRankAlexNet, name: str
) -> dict[str, Tensor]:
    """Return the state_dict of one version or of a mean of versions, dequantised."""
    if isinstance(version, Mean):
        states: list[dict[str, Tensor]] = []
        for part, _ in version.parts:
            own = form_of(part, form.layers)
            states.append(_version(tensors, part, own, name))
            check_state_dict(states[-1], own.state_dict(), name)
        return mean_state(states, version, form)
    try:
        state = version_state(tensors, version, form)
    except KeyError as error:
        raise WeightsRefused(
            f"{name} lacks {error.args[0]}; expected every tensor of {version.scheme}/{version.name}."
        ) from error
    except ValueError as error:
        raise WeightsRefused(f"{name}: {error}.") from error
    return _dequantise(state, name)


def _filled(network: LowRankAlexNet, state: Mapping[str, Tensor], name: str) -> LowRankAlexNet:
    """Put checked weights into a network that has none."""
    check_state_dict(state, network.state_dict(), name)
    network.load_state_dict(state, assign=True)
    return network.eval()


def read_state_dict(file: LocalFile) -> dict[str, Tensor]:
    """Return the tensors of a weight file, verified, with int8 and half-precision weights as float32.

    Args:
        file: ``pickle`` is the original release's format (``torch.save`` of a state_dict). In ``safetensors`` a weight
            may be int8 with ``<key>.scale``, float32, one for each output channel: weight = int8 x scale.

    Raises:
        WeightsRefused: The digest differs, or the file cannot be read as tensors.
    """
    return _dequantise(_read_tensors(file), file.path.name)


def _read_tensors(file: LocalFile) -> dict[str, Tensor]:
    """Return the tensors of a weight file, verified, as they are stored, and the statistics of its cuts."""
    name = file.path.name
    beside = _read_tensors(file.statistics) if file.statistics else {}
    if file.statistics:
        _check_statistics(beside, file.statistics.path.name)
    try:
        data = file.path.read_bytes()
    except OSError as error:
        raise WeightsRefused(
            f"{name} cannot be read ({error.strerror}); expected the weight file of a model."
        ) from error
    digest = hashlib.sha256(data).hexdigest()
    if not digest.startswith(file.sha256):
        raise WeightsRefused(
            f"{name} has SHA-256 {digest[:16]}…; expected {file.sha256[:16]}…. It was changed or damaged: put the "
            "right file in its place or, if it was downloaded, delete it so that it is downloaded again."
        )
    try:
        if file.format == "pickle":
            state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        else:
            state = safetensors.torch.load(data)
    except (pickle.UnpicklingError, RuntimeError, SafetensorError, ValueError, EOFError, KeyError) as error:
        raise WeightsRefused(
            f"{name} cannot be read as {file.format} ({type(error).__name__}); expected a state_dict of plain tensors."
        ) from error
    found = ""
    if not isinstance(state, Mapping):
        found = type(state).__name__
    elif odd := [str(key) for key, value in state.items() if not (isinstance(key, str) and _is_plain(value))]:
        fault = "is not a plain tensor" if len(odd) == 1 else "are not plain tensors"
        found = f"{counted(len(odd), 'value')} that {fault}{_some(odd)}"
    if found:
        raise WeightsRefused(f"{name} holds {found}; expected a state_dict of plain tensors.")
    return _unwrapped(state) | beside


def _check_statistics(tensors: Mapping[str, Tensor], name: str) -> None:
    """Check that a file holds statistics of cuts and nothing else, so that no tensor takes a version's own place."""
    odd = [key for key in tensors if not STATISTICS.fullmatch(key)]
    if odd:
        raise WeightsRefused(f"{name} holds {shown(odd[0])}; expected statistics of cuts alone.")
    for key, tensor in tensors.items():
        ranks = STATISTICS.fullmatch(key)
        assert ranks
        if tensor.dim() != 1 or not tensor.is_floating_point() or ranks["ranks"].count("-") != len(LAYERS) - 1:
            raise WeightsRefused(
                f"{name}: {shown(key)} is {tensor.dtype} {tuple(tensor.shape)}; expected numbers for the channels of a "
                f"cut to {len(LAYERS)} ranks."
            )
        if not bool(torch.isfinite(tensor).all()) or (key.endswith("var") and bool((tensor < 0).any())):
            raise WeightsRefused(f"{name}: {shown(key)} is not finite, or negative; the file cannot be used.")


def _unwrapped(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Strip the prefixes that DataParallel and torch.compile add to every key."""
    for wrapper in _WRAPPERS:
        if state and all(key.startswith(wrapper) for key in state):
            return _unwrapped({key.removeprefix(wrapper): tensor for key, tensor in state.items()})
    return dict(state)


def _is_plain(value: object) -> bool:
    """Return whether a value is a dense tensor with values of its own: not sparse, quantised or on the meta device."""
    return isinstance(value, Tensor) and value.layout == torch.strided and not (value.is_quantized or value.is_meta)


def _dequantise(stored: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """Return stored tensors as float32: int8 weights times their scales, half-precision ones converted."""
    state: dict[str, Tensor] = {}
    for key, tensor in stored.items():
        if key.endswith(_SCALE):
            continue
        scale = stored.get(key + _SCALE)
        if scale is not None and tensor.dtype == torch.int8:
            if scale.shape != tensor.shape[:1]:
                raise WeightsRefused(
                    f"{name}: {key}{_SCALE} has shape {tuple(scale.shape)}; expected {tuple(tensor.shape[:1])}."
                )
            tensor = tensor.float() * scale.float().reshape(-1, *[1] * (tensor.dim() - 1))
        elif tensor.dtype in (torch.float16, torch.bfloat16):
            tensor = tensor.float()
        state[key] = tensor
    return state


def check_state_dict(state: Mapping[str, Tensor], expected: Mapping[str, Tensor], name: str) -> None:
    """Check that a state_dict has the keys, shapes and dtypes of the network's own, and finite values.

    Raises:
        WeightsRefused: A key is missing or unknown, a tensor has another shape or dtype or is not finite, or a variance
            is negative.
    """
    missing, unknown = sorted(expected.keys() - state.keys()), sorted(state.keys() - expected.keys())
    if missing or unknown:
        raise WeightsRefused(
            f"{name} lacks {counted(len(missing), 'key')}{_some(missing)} and has "
            f"{counted(len(unknown), 'unknown key')}{_some(unknown)}; expected the {len(expected)} of its model card."
        )
    for key, wanted in expected.items():
        tensor = state[key]
        if tensor.shape != wanted.shape or tensor.dtype != wanted.dtype:
            raise WeightsRefused(
                f"{name}: {key} is {tensor.dtype} {tuple(tensor.shape)}; expected {wanted.dtype} {tuple(wanted.shape)}."
            )
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise WeightsRefused(f"{name}: {key} holds values that are not finite; the file cannot be used.")
        if key.endswith(".running_var") and bool((tensor < 0).any()):
            raise WeightsRefused(f"{name}: {key} holds negative variances; the file cannot be used.")


def _some(keys: Sequence[str]) -> str:
    """Return the first keys in brackets."""
    return f" ({', '.join(shown(key) for key in keys[:2])}{', …' if len(keys) > 2 else ''})" if keys else ""
