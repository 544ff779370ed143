"""Several versions of a network in one set of tensors: the first r components of a factor are its layer of rank r.

A name says who shares a tensor: ``classifier.0.V.weight`` belongs to every version, ``scheme_2/features.0.V.weight`` to
those of one scheme, ``scheme_2/v5/features.1.running_mean`` to one. Both schemes factor linear layers alike, so all
versions share these factors. V of a convolution is shared within its scheme. Each version has its own small tensors: U
of the convolutions, biases, batch normalisation. A network between two versions takes the weighted mean of theirs.
``scheme_2/v5@6-26-63-65-81-466-321-235/features.1.running_mean`` was measured with v5 cut to these ranks.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ..models.architecture import CONVOLUTIONS, LAYERS, Layer, log_distance, log_ranks
from ..models.cards import ModelCard
from ..runtime.words import counted
from .alexnet import LowRankAlexNet

_DOT = ":"
"""Stands for a dot, which PyTorch does not allow in the name of a parameter."""


@dataclass(frozen=True)
class Version:
    """One network among those that share tensors."""

    scheme: str
    name: str
    """Name of the version whose own tensors it uses, such as ``v5``."""
    ranks: tuple[int, ...]
    """Ranks of conv1 to fc8, at most those of the shared factors. A layer of rank 0 outputs only its bias."""


@dataclass(frozen=True)
class Mean:
    """A network between versions: the mean of their own tensors."""

    scheme: str
    ranks: tuple[int, ...]
    parts: tuple[tuple[Version, float], ...]
    """Versions, of at most these ranks, and their weights."""


def place_of(card: ModelCard) -> Version | Mean:
    """Return what a card stands for in a nested file."""
    if not card.parts:
        return Version(card.scheme, card.version, card.ranks)
    parts = [(Version(card.scheme, part.version, part.ranks), part.weight) for part in card.parts]
    if len(parts) == 1 and parts[0][0].ranks == card.ranks:
        return parts[0][0]
    return Mean(card.scheme, card.ranks, tuple(parts))


def form_of(version: Version | Mean, layers: Sequence[Layer] = LAYERS) -> LowRankAlexNet:
    """Return a version's network without weights, on the meta device; a layer of rank 0 has one channel."""
    with torch.device("meta"):
        return LowRankAlexNet(version.scheme, [max(rank, 1) for rank in version.ranks], layers)


def version_state(tensors: Mapping[str, Tensor], version: Version, form: LowRankAlexNet) -> dict[str, Tensor]:
    """Return one version's state_dict; its tensors are views of the given ones.

    Args:
        tensors: Float32 tensors by name, or those of a weight file, with ``<name>.scale`` beside an int8 factor.
        version: The version; ranks below those that it was trained at make a slice of it.
        form: Its network, from :func:`form_of`.

    Raises:
        KeyError: A tensor is missing; its argument is the name.
        ValueError: A factor has fewer components than the version needs; the message says so.
    """
    state: dict[str, Tensor] = {}
    measured = measured_at(tensors, version, form.layers)
    statistics = {key for key, tensor in form.named_buffers() if tensor.is_floating_point()} if measured else set()
    places = (f"{version.scheme}/{version.name}/", f"{version.scheme}/", "")
    # Statistics fit the components that they were measured with: a convolution uses no others.
    at = {layer.name: rank for layer, rank in zip(form.layers, version.ranks, strict=True)}
    if measured:
        ranks = map(int, measured[1:].split("-"))
        at |= {layer.name: rank for layer, rank in zip(form.layers[CONVOLUTIONS], ranks, strict=False)}
    for key in form.state_dict():
        for stored in (key, f"{key}.scale"):
            among = (f"{version.scheme}/{version.name}{measured}/",) if key in statistics else places
            name = next((place + stored for place in among if place + stored in tensors), None)
            if name is not None:
                state[stored] = tensors[name]
            elif stored == key:
                raise KeyError(among[0] + key)
    for layer, rank in zip(form.layers, version.ranks, strict=True):
        v, u = f"{layer.key}.V.weight", f"{layer.key}.U.weight"
        found, kept = _components(state[v], state[u]), max(rank, 1)
        if found < kept:
            raise ValueError(f"{layer.name} has {counted(found, 'component')}; expected at least {kept}")
        state[v], state[u] = state[v][:kept], state[u][:, :kept]
        used = min(rank, at[layer.name])
        if used < kept:
            state[u] = torch.cat([state[u][:, :used], torch.zeros_like(state[u][:, used:])], 1)
        scale = state.get(f"{v}.scale")
        if scale is not None and scale.dim():
            state[f"{v}.scale"] = scale[:kept]
    return state


def _components(v: Tensor, u: Tensor) -> int:
    """Return how many components two factors share; 0 if their shapes are not those of factors."""
    return min(v.shape[0], u.shape[1]) if v.dim() and u.dim() > 1 else 0


def shared_name(version: Version, key: str, layers: Sequence[Layer] = LAYERS) -> str:
    """Return the name under which a version's tensor is kept."""
    kinds = {layer.key: layer.kind for layer in layers}
    place, _, factor = key.removesuffix(".weight").rpartition(".")
    if place in kinds and key.endswith(".weight"):
        if kinds[place] == "linear":
            return key
        if factor == "V":
            return f"{version.scheme}/{key}"
    return f"{version.scheme}/{version.name}/{key}"


STATISTICS = re.compile(r"scheme_[12]/[^/@]+@(?P<ranks>[0-9]{1,6}(-[0-9]{1,6})*)/.+\.running_(mean|var)")
"""Name of a statistic that was measured with a version at other ranks."""


def measured_at(tensors: Mapping[str, Tensor], version: Version, layers: Sequence[Layer] = LAYERS) -> str:
    """Return the ranks, as ``@rank-rank-…``, whose measured statistics are nearest to a version's ranks.

    Empty if the version's own statistics are nearest. Only convolutions are compared, by the logarithms of their ranks.
    """
    start = f"{version.scheme}/{version.name}"
    wanted = log_ranks(version.ranks)
    own = [tensors.get(f"{start}/{layer.key}.U.weight") for layer in layers[CONVOLUTIONS]]
    known = {name.removeprefix(start).partition("/")[0] for name in tensors if name.startswith(f"{start}@")}
    sets = {text: [int(rank) for rank in text[1:].split("-")] for text in sorted(known)}
    if all(u is not None and u.dim() > 1 for u in own):
        sets = {"": [u.shape[1] for u in own if u is not None], **sets}
    return min(sets, key=lambda text: log_distance(log_ranks(sets[text]), wanted), default="")


def mean_state(states: Sequence[Mapping[str, Tensor]], mean: Mean, form: LowRankAlexNet) -> dict[str, Tensor]:
    """Return the state_dict of a network between versions.

    U of a convolution counts as zero for the components that a version lacks. All versions were trained to compute the
    same features with the same V, so their mean computes nearly the same too.

    Args:
        states: Float32 state_dict of each part.
        mean: The network.
        form: Its network without weights.
    """
    first = mean.parts[0][0]
    own = f"{first.scheme}/{first.name}/"
    made: dict[str, Tensor] = {}
    for key, like in form.state_dict().items():
        widened = [_widened(state[key], like.shape) for state in states]
        if shared_name(first, key, form.layers).startswith(own) and like.is_floating_point():
            made[key] = sum((w * one for (_, w), one in zip(mean.parts, widened, strict=True)), torch.zeros(like.shape))
        else:
            made[key] = max(zip(states, widened, strict=True), key=lambda pair: pair[0][key].numel())[1]
    return made


def _widened(tensor: Tensor, shape: torch.Size) -> Tensor:
    """Return a tensor with zeros for the components that it lacks; itself if it lacks none."""
    if tensor.shape == shape:
        return tensor
    wide = tensor.new_zeros(shape)
    wide[tuple(map(slice, tensor.shape))] = tensor
    return wide


def merged(states: Mapping[Version, Mapping[str, Tensor]], layers: Sequence[Layer] = LAYERS) -> dict[str, Tensor]:
    """Return the tensors of several versions by name; for shared factors, those with the most components."""
    tensors: dict[str, Tensor] = {}
    for version, state in states.items():
        for key, tensor in state.items():
            name = shared_name(version, key, layers)
            if name not in tensors or tensor.numel() > tensors[name].numel():
                tensors[name] = tensor
    return tensors


class NestedAlexNet(nn.Module):
    """Versions that are trained together: in training, each batch goes through one of them, drawn at random.

    Args:
        versions: The versions.
        tensors: Their tensors by name, as :func:`merged` returns them; copied.
        layers: The dense layers that they factor.
    """

    def __init__(
        self, versions: Sequence[Version], tensors: Mapping[str, Tensor], layers: Sequence[Layer] = LAYERS
    ) -> None:
        super().__init__()
        self.versions = tuple(versions)
        self.layers = tuple(layers)
        self.evaluated = self.versions[0]
        """The version that answers in evaluation."""
        self.forms = {version: form_of(version, layers) for version in versions}
        """Networks without weights; in a dictionary, so that they are not submodules."""
        statistics = {key for form in self.forms.values() for key, _ in form.named_buffers()}
        for name, tensor in tensors.items():
            if name.rpartition("/")[2] in statistics:
                self.register_buffer(_plain(name), tensor.clone())
            else:
                self.register_parameter(_plain(name), nn.Parameter(tensor.clone()))

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits, float [n, classes], of normalised images, float [n, 3, 227, 227]."""
        version = self.drawn() if self.training else self.evaluated
        return functional_call(self.forms[version].train(self.training), self.state_of(version), (images,))

    def drawn(self) -> Version:
        """Return a version at random."""
        return self.versions[int(torch.randint(len(self.versions), ()))]

    def part(self, version: Version, name: str, inputs: Tensor) -> Tensor:
        """Run a part of one version, such as ``features`` or ``classifier``."""
        form = self.forms[version].get_submodule(name).train(self.training)
        state = {key: value for key, value in self.state_of(version).items() if key.startswith(f"{name}.")}
        return functional_call(form, {key.removeprefix(f"{name}."): value for key, value in state.items()}, (inputs,))

    def train_only(self, name: str) -> None:
        """Freeze the weights of every part but this one."""
        for own, parameter in self.named_parameters():
            parameter.requires_grad_(f"{name}." in own.replace(_DOT, "."))

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors by name."""
        return {name.replace(_DOT, "."): tensor for name, tensor in self.state_dict(keep_vars=True).items()}

    def state_of(self, version: Version) -> dict[str, Tensor]:
        """Return the state_dict of one version: views, through which gradients and statistics reach this network's."""
        return version_state(self.tensors(), version, self.forms[version])

    def network_of(self, version: Version) -> LowRankAlexNet:
        """Return one version as a network of its own, with copies of the tensors."""
        network = LowRankAlexNet(version.scheme, [max(rank, 1) for rank in version.ranks], self.layers)
        network.load_state_dict({key: tensor.detach() for key, tensor in self.state_of(version).items()})
        return network

    def set_buffers(self, version: Version, network: LowRankAlexNet) -> None:
        """Take the statistics of one version from a network of its own."""
        buffers = self.state_of(version)
        for key, tensor in network.named_buffers():
            buffers[key].copy_(tensor)


def set_dropout(network: nn.Module, share: float) -> None:
    """Set the share of values that every dropout of a network leaves out in training."""
    forms = network.forms.values() if isinstance(network, NestedAlexNet) else (network,)
    for module in (module for form in forms for module in form.modules()):
        if isinstance(module, nn.Dropout):
            module.p = share


def _plain(name: str) -> str:
    return name.replace(".", _DOT)
