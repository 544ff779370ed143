"""Compress any network: the LC algorithm around the user's own training loop."""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import get_args

from torch import Tensor, nn

from ..errors import UsageError
from ..models.architecture import SCHEMES
from ..runtime.schema import shown
from .c_step import Cost, Criterion
from .factors import factored
from .layers import Inputs, Target, modes_kept, replace, survey
from .lc import LowRankPenalty, Selection, mu_schedule, run

Train = Callable[[nn.Module, Callable[[], Tensor], int], object]
"""Trains a network in place: called with the network, the penalty to add to the loss of each batch, and the step."""
SCHEDULE = tuple(mu_schedule(1e-3, 1.2, 30))
"""μ of each LC step, if no others are given."""


@dataclass(frozen=True)
class Step:
    """One LC step, after its C step."""

    step: int
    lambda_: float
    """λ of the C step: the given one, or the one that meets the target."""
    mu: float
    ranks: Mapping[str, int]
    """By layer; a layer of full rank stays dense, one of rank 0 was dropped."""
    macs: int
    """MACs of the compressed network for one example: of each call of a convolution or linear layer, without biases."""
    storage: int
    """Weights of the layers that can be factored, as they are in the compressed network."""
    distance: float
    """How far the dense weights are from the compressed ones: ‖W − Δ‖ / ‖W‖."""
    measured: float | None = None
    """What ``measure`` returned for the compressed network; None without ``measure``."""


@dataclass(frozen=True)
class Compressed:
    """What :func:`compress` returns."""

    network: nn.Module
    """The compressed network, before any fine-tuning: a factored layer has modules ``V`` and ``U``."""
    ranks: Mapping[str, int]
    """Ranks of the layers that were factored; 0 for one that was dropped, whose factors are one component of zeros."""
    left_alone: Mapping[str, str]
    """Why each of the other convolution and linear layers was left as it was."""
    macs: int
    """MACs of the network for one example, as in each step."""
    history: tuple[Step, ...]


def compress(
    model: nn.Module,
    train: Train,
    example_input: Inputs,
    *,
    lambda_: float | None = None,
    target_macs: int | None = None,
    scheme: str = "scheme_1",
    exclude: Iterable[str] = (),
    rank_multiple: int = 1,
    criterion: Criterion = "flops",
    cost: Cost = "true",
    normalised: bool = True,
    augmented: bool = True,
    schedule: Iterable[float] = SCHEDULE,
    measure: Callable[[nn.Module], float] | None = None,
) -> Compressed:
    """Learn the rank of each convolution and linear layer of a trained network.

    Give either ``lambda_`` or ``target_macs``. With a target, each C step finds by bisection the λ whose ranks meet it.

    Args:
        model: The trained network; a copy of it is compressed.
        train: The L step, ``train(model, penalty, step)``: trains the model in place, with ``penalty()`` added to the
            loss of each batch. Called for the steps from 1 on, since the model has been trained already. The penalty's
            curvature is μ: keep the learning rate below 1 / μ.
        example_input: One tensor or several that the model can be called with, on its device; costs are divided by the
            length of the first one's first dimension, the batch. Give a batch of 1 if the network also passes vectors
            through a layer that do not belong to one example.
        lambda_: Price of 10⁶ of cost.
        target_macs: Limit on the MACs of the network's convolutions and linear layers. Weights that are read without a
            call, such as attention's projections, are not counted.
        scheme: ``scheme_1`` or ``scheme_2``, for convolutions.
        exclude: Names of layers to leave alone, or of modules whose layers to leave alone; or one name.
        rank_multiple: Ranks are multiples of this number, which suits some hardware.
        criterion: The cost that λ is the price of: ``flops`` or ``storage``.
        cost: ``true``, or ``original`` to count MACs as the authors did.
        normalised: Whether a layer's lost energy counts as a share of its whole energy.
        augmented: Whether to use the augmented Lagrangian rather than the quadratic penalty.
        schedule: μ of each LC step, growing.
        measure: Called with the compressed network after each step, for the history: returns its error, for example.
            What it changes in the network's parameters, buffers and modes is undone.

    Raises:
        UsageError: An argument is wrong, the model cannot be copied, or no layer can be factored.
        TrainingDiverged: ``train`` left weights that are not finite.
    """
    schedule = schedule.tolist() if isinstance(schedule, Tensor) else list(schedule)
    _check(scheme, lambda_, target_macs, rank_multiple, criterion, cost, schedule)
    network = _copied(model)
    found = survey(network, example_input, exclude)
    targets = found.targets
    if not targets:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in found.left_alone.items())
        raise UsageError(f"No layer can be factored ({reasons or 'there is none'}); expected a Conv2d or Linear layer.")
    selection = Selection(
        scheme,
        lambda_ or 0.0,
        criterion,
        cost,
        normalised,
        keep_dense=True,
        multiple=rank_multiple,
        budget=None if target_macs is None else target_macs - found.other_macs,
    )
    if target_macs is not None:
        least = found.other_macs + sum(selection.cost_of(target, 0, "flops") for target in targets.values())
        if not least <= target_macs < found.macs:
            raise UsageError(
                f"target_macs is {target_macs:,}; expected at least {least:,}, which the network has at the lowest "
                f"ranks, and fewer than its own {found.macs:,}."
            )
    penalty = LowRankPenalty(targets, selection, augmented=augmented)
    history: list[Step] = []

    def l_step(step: int, mu: float) -> None:
        train(network, lambda: penalty(mu), step)

    def end_step(step: int, mu: float) -> None:
        macs = found.other_macs + penalty.macs()
        measured = None if measure is None else _measured(network, targets, penalty, scheme, measure)
        ranks = dict(penalty.ranks)
        history.append(Step(step, penalty.lambda_, mu, ranks, macs, penalty.storage(), penalty.distance(), measured))

    run(penalty, schedule, l_step, end_step)
    dense = {n: "factoring does not pay" for n in targets if n not in penalty.factors}
    ranks = {name: penalty.ranks[name] for name in penalty.factors}
    _put_in(network, targets, penalty, scheme)
    return Compressed(network, ranks, {**found.left_alone, **dense}, history[-1].macs, tuple(history))


def _copied(model: nn.Module) -> nn.Module:
    """Return a copy of a model.

    Raises:
        UsageError: It cannot be copied.
    """
    try:
        return copy.deepcopy(model)
    except Exception as error:  # of as many kinds as there are things that cannot be copied
        reason = str(error).partition(". ")[0] or type(error).__name__
        raise UsageError(
            f"The model cannot be copied ({reason}); expected one that copy.deepcopy copies. If its forward keeps a "
            "tensor, call it once under torch.no_grad(); in place of torch.nn.utils.weight_norm use "
            "torch.nn.utils.parametrizations.weight_norm."
        ) from error


def _measured(
    network: nn.Module,
    targets: Mapping[str, Target],
    penalty: LowRankPenalty,
    scheme: str,
    measure: Callable[[nn.Module], float],
) -> float:
    """Measure a network with the weights of the last C step; it then is as it was before."""
    # Not on a copy of it: a network that keeps a tensor of its last forward cannot be copied after training.
    with modes_kept(network), _tensors_kept(network):
        try:
            _put_in(network, targets, penalty, scheme)
            return measure(network)
        finally:
            for name, target in targets.items():
                replace(network, name, target.module)


@contextlib.contextmanager
def _tensors_kept(network: nn.Module) -> Iterator[None]:
    """Set each parameter and buffer back when the block ends: its values, dtype, device, and whether it is trained."""
    parameters = [(one, one.data, one.data.clone(), one.requires_grad) for one in network.parameters()]
    buffers = [
        (module, name, buffer, buffer.clone())
        for module in network.modules()
        for name, buffer in module.named_buffers(recurse=False)
    ]
    try:
        yield
    finally:
        for parameter, data, values, trained in parameters:
            parameter.data = data.copy_(values)
            parameter.requires_grad_(trained)
        for module, name, buffer, values in buffers:
            setattr(module, name, buffer.copy_(values))


def _put_in(network: nn.Module, targets: Mapping[str, Target], penalty: LowRankPenalty, scheme: str) -> None:
    """Give a network the weights of the last C step, in place."""
    for name, target in targets.items():
        if name in penalty.factors:
            replace(network, name, factored(target.module, *penalty.factors[name], scheme))
        else:
            target.module.weight.data.copy_(penalty.delta[name])


def _check(
    scheme: str,
    lambda_: float | None,
    target_macs: int | None,
    rank_multiple: int,
    criterion: str,
    cost: str,
    schedule: Sequence[float],
) -> None:
    """Raise a UsageError if an argument is wrong."""
    if (lambda_ is None) == (target_macs is None):
        given = "Neither lambda_ nor target_macs is" if lambda_ is None else "Both lambda_ and target_macs are"
        raise UsageError(f"{given} given; expected one of them.")
    words = (("scheme", scheme, SCHEMES), ("criterion", criterion, get_args(Criterion)), ("cost", cost, get_args(Cost)))
    for name, word, known in words:
        if word not in known:
            raise UsageError(f"{name} is {shown(word)}; expected one of: {', '.join(known)}.")
    if lambda_ is not None and not (isinstance(lambda_, Real) and 0 <= lambda_ < math.inf):
        raise UsageError(f"lambda_ is {shown(lambda_)}; expected a finite number, at least 0.")
    if target_macs is not None and not isinstance(target_macs, Real):
        raise UsageError(f"target_macs is {shown(target_macs)}; expected a number.")
    if not isinstance(rank_multiple, Integral) or rank_multiple < 1:
        raise UsageError(f"rank_multiple is {shown(rank_multiple)}; expected a whole number, at least 1.")
    if not schedule or not all(isinstance(mu, Real) and 0 < mu < math.inf for mu in schedule):
        raise UsageError(
            "schedule has no μ, or one that is no positive number; expected a positive, finite μ for each step."
        )
