"""The layers of any network that can be factored, and what they cost.

A layer that cannot be factored correctly is left alone, and :class:`Survey` says why.
"""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from ..errors import UsageError
from ..runtime.schema import shown
from .c_step import Cost, Criterion, to_matrix, unit_cost
from .factors import factorised

Inputs = Tensor | tuple[Tensor, ...]
"""What a network is called with: one tensor, or several; the first dimension is the batch."""
# Torch has no public way to ask for hooks.
_HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")


@dataclass(frozen=True)
class Target:
    """A layer that can be factored. Costs are for one image, or one example of the batch."""

    module: nn.Conv2d | nn.Linear
    positions: int
    """Output height x width of a convolution; for a linear layer the vectors that it is applied to, such as tokens."""
    rows_kept: int
    """Input height x output width: the positions of scheme 2's V. As ``positions`` for a linear layer."""

    def matrix_shape(self, scheme: str) -> tuple[int, int]:
        """Return (rows, columns) of the matrix whose rank is learned."""
        rows, columns = to_matrix(self.module.weight.detach(), scheme).shape
        return rows, columns

    def full_rank(self, scheme: str) -> int:
        """Return the largest rank of the matrix."""
        return min(self.matrix_shape(scheme))

    def unit_cost(self, scheme: str, criterion: Criterion, cost: Cost = "true") -> int:
        """Return the cost of one more rank."""
        v_positions = self.rows_kept if cost == "true" and scheme == "scheme_2" else self.positions
        return unit_cost(*self.matrix_shape(scheme), criterion, self.positions, v_positions)

    def dense_cost(self, criterion: Criterion) -> int:
        """Return the cost of the layer as it is."""
        return self.module.weight.numel() * (self.positions if criterion == "flops" else 1)

    def pays(self, scheme: str, rank: int, criterion: Criterion = "flops") -> bool:
        """Return whether the factors of this rank are cheaper than the layer; at full rank they never are."""
        cheaper = max(rank, 1) * self.unit_cost(scheme, criterion) < self.dense_cost(criterion)
        return cheaper and rank < self.full_rank(scheme)


@dataclass(frozen=True)
class Survey:
    """The convolutions and linear layers of a network."""

    targets: Mapping[str, Target]
    """Those that can be factored, by name."""
    left_alone: Mapping[str, str]
    """Why each of the others cannot be factored, or need not be."""
    other_macs: int
    """MACs of the others for one image."""

    @property
    def macs(self) -> int:
        """MACs of all for one image."""
        return self.other_macs + sum(target.dense_cost("flops") for target in self.targets.values())


def survey(network: nn.Module, example: Inputs, exclude: Iterable[str] = ()) -> Survey:
    """Run a network once, in evaluation mode, and return the layers that can be factored.

    MACs are those of calls: attention's projections, whose weights torch reads without a call, are not counted.

    Args:
        network: Left unchanged.
        example: An input of the right shape and dtype, on the network's device.
        exclude: Names of layers to leave alone, or of modules whose layers to leave alone; or one name.

    Raises:
        UsageError: The example is not a batch, or a name in ``exclude`` is not a module of the network.
    """
    inputs = example if isinstance(example, tuple) else (example,)
    if not inputs or not isinstance(inputs[0], Tensor) or not inputs[0].dim():
        raise UsageError(
            f"The example input is a {type(example).__name__} without a batch; expected a tensor whose first dimension "
            "is the batch, or a tuple that begins with one."
        )
    batch = max(1, len(inputs[0]))
    modules = dict(network.named_modules())
    exclude = [exclude] if isinstance(exclude, str) else list(exclude)
    if unknown := [name for name in exclude if name not in modules]:
        raise UsageError(
            f"exclude names {shown(unknown[0])}, which is not a module of the network; expected a name that its "
            "named_modules() gives."
        )
    layers = {name: one for name, one in modules.items() if isinstance(one, (_ConvNd, nn.Linear))}
    sharers = _sharers(network)
    reasons: dict[str, str] = {}
    for name, module in layers.items():
        excluded = any(name == one or name.startswith(f"{one}.") for one in exclude)
        if reason := "excluded" if excluded else _reason(name, module, sharers):
            reasons[name] = reason
    # Twins stand in the places that factors would take. A call that still reaches the layer would not reach factors.
    twins = {name: _twin(one) for name, one in layers.items() if name not in reasons}
    positions, rows_kept, macs = dict.fromkeys(layers, 0), dict.fromkeys(layers, 0), dict.fromkeys(layers, 0)

    def record(
        name: str, module: nn.Module, args: tuple[object, ...], kwargs: dict[str, object], output: object
    ) -> None:
        assert isinstance(module, (_ConvNd, nn.Linear))
        given = args[0] if args else kwargs.get("input")
        if name in twins and module is layers[name]:
            reasons[name] = "the network also holds it outside its modules, in a list for example"
        moved = given if isinstance(module, _ConvNd) and module.transposed else output
        if not isinstance(moved, Tensor):  # a layer with its own forward
            return
        # A layer may be called several times, also with vectors that all examples share. All are divided by the batch,
        # rounded up: one vector for the whole batch counts as one for each example.
        area = math.prod(moved.shape[moved.dim() - (module.weight.dim() - 2) :])
        count = -(-moved.numel() // max(1, batch * len(module.weight) * area))
        macs[name] += count * area * module.weight.numel()
        positions[name] += count * area
        if isinstance(module, nn.Conv2d) and isinstance(given, Tensor):
            rows_kept[name] += count * given.shape[-2] * moved.shape[-1]
        else:
            rows_kept[name] += count

    hooked = [*layers.items(), *twins.items()]
    hooks = [one.register_forward_hook(partial(record, name), with_kwargs=True) for name, one in hooked]
    try:
        with torch.no_grad(), modes_kept(network):
            for name, twin in twins.items():
                replace(network, name, twin)
            network.eval()(*inputs)
    finally:
        for name in twins:
            replace(network, name, layers[name])
        for hook in hooks:
            hook.remove()
    targets: dict[str, Target] = {}
    for name, module in layers.items():
        if name not in reasons and not positions[name]:
            reasons[name] = (
                "the example does not pass through it; its weight may be read without a call, and its MACs are not "
                "counted"
            )
        if name not in reasons:
            assert isinstance(module, (nn.Conv2d, nn.Linear))
            targets[name] = Target(module, positions[name], rows_kept[name])
    return Survey(targets, {name: reasons[name] for name in layers if name in reasons}, sum(macs[n] for n in reasons))


def _twin(layer: nn.Module) -> nn.Module:
    """Return a layer with the same parameters, not only the same values."""
    return copy.deepcopy(layer, {id(one): one for one in layer.parameters()})


@contextlib.contextmanager
def modes_kept(network: nn.Module) -> Iterator[None]:
    """Set each module's training mode back when the block ends."""
    modes = {module: module.training for module in network.modules()}
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training


def _sharers(network: nn.Module) -> dict[int, list[str]]:
    """Return the places of every parameter, by its identity; a tied one has several."""
    places: dict[int, list[str]] = {}
    for name, module in network.named_modules(remove_duplicate=False):
        for one, parameter in module.named_parameters(recurse=False, remove_duplicate=False):
            places.setdefault(id(parameter), []).append(f"{name}.{one}")
    return places


def _reason(name: str, module: nn.Module, sharers: Mapping[int, list[str]]) -> str:
    """Return why the schemes do not cover a layer; empty if they do."""
    torchs = nn.Conv2d if isinstance(module, nn.Conv2d) else nn.Linear if isinstance(module, nn.Linear) else None
    if torchs is None:
        return f"it is {type(module).__name__}; only Conv2d and Linear are factored"
    if type(module).forward is not torchs.forward:
        return f"{type(module).__name__} has a forward of its own"
    if not name:
        return "it is the whole network; put it into an nn.Sequential"
    if "weight" not in dict(module.named_parameters(recurse=False)):
        return "its weight is computed from other parameters"
    if isinstance(module, nn.Conv2d) and module.groups != 1:
        return "it is depthwise" if module.groups == module.in_channels else "it is grouped"
    for kind, parameter in module.named_parameters(recurse=False):
        if others := [place for place in sharers[id(parameter)] if place != f"{name}.{kind}"]:
            return f"it shares its {kind} with {others[0]}"
    if not module.weight.requires_grad:
        return "it is frozen"
    return "it has hooks" if any(getattr(module, hooks) for hooks in _HOOKS) else ""


def decompose(network: nn.Module, targets: Mapping[str, Target], ranks: Mapping[str, int], scheme: str) -> None:
    """Replace layers of a network, in place, by the factors of their nearest weights of these ranks.

    A layer stays as it is where its factors would not be cheaper (in MACs).

    Args:
        network: The network.
        targets: Its layers, from :func:`survey`.
        ranks: The rank of each layer to replace.
        scheme: ``scheme_1`` or ``scheme_2``.

    Raises:
        UsageError: A name is not one of the targets.
    """
    for name, rank in ranks.items():
        if name not in targets:
            raise UsageError(f"{shown(name)} is not a layer that can be factored; expected a name among the targets.")
        if targets[name].pays(scheme, rank):
            replace(network, name, factorised(targets[name].module, scheme, rank))


def replace(network: nn.Module, name: str, module: nn.Module) -> None:
    """Put a module in another one's place."""
    parent, _, child = name.rpartition(".")
    setattr(network.get_submodule(parent), child, module)
