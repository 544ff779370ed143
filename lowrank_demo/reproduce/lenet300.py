"""The paper's LeNet300 experiment: learn the ranks at the authors' values of λ, and cut by SVD to the same MACs.

Settings are those of ``run_lenet300.sh`` in the authors' library: a reference of 784-300-100-10 units; for each λ 30 LC
steps from μ = 0.001, growing by a factor of 1.1, then fine-tuning of the factored network. One thing differs: the
reference starts from torch's own random weights and biases, theirs from Xavier's weights and zero biases.

The network that it is compared with has at most the same MACs. Its truncated layers keep the same share of their
energy; a layer whose factors would cost more stays dense. It is fine-tuned in the same way.
"""

from __future__ import annotations

import copy
import io
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import DataError, UsageError
from ..lowrank.c_step import Decomposition, lost_energy
from ..lowrank.compression import compress
from ..lowrank.factors import Factored
from ..lowrank.layers import decompose, survey
from ..lowrank.lc import mu_schedule
from ..runtime.outputs import check_folder
from ..runtime.progress import Meter, ProgressLine
from ..train.output import writing
from .idx import Digits
from .results import (
    LEARNED,
    REFERENCE,
    TRUNCATED,
    History,
    LcStep,
    Network,
    Results,
    Settings,
    read_results,
    write_results,
)

AFTERWARDS = "the same command continues after the last finished λ"
"""What to do about a run that stopped."""
_BATCH = 256


def reproduce(digits: Digits, folder: Path, settings: Settings) -> Results:
    """Run the experiment and keep each result in ``results.json`` as it comes. A run that was stopped continues.

    Args:
        digits: The data.
        folder: Where the results are kept.
        settings: How long to train. A folder belongs to one data set and one choice of settings.

    Raises:
        UsageError: The folder has the results of other data or settings, or some results but not their reference; or
            nothing can be written there.
        DataError: Its results, or its reference, are damaged.
        NotWritten: A result could not be written.
    """
    check_folder(folder, folder)
    kept, reference_file = folder / "results.json", folder / "reference.pt"
    results = read_results(kept) if kept.exists() else Results(digits.name, settings)
    if (results.data, results.settings) != (digits.name, settings):
        raise UsageError(
            f"{folder} has the results of a run on {results.data} with {results.settings}; this one is on "
            f"{digits.name} with {settings}. Choose another folder, or delete that one."
        )
    if results.networks and all(map(results.has, settings.lambdas)):
        return results
    if results.histories and not reference_file.exists():
        raise UsageError(
            f"There is no {reference_file}; expected the network that the results in {folder} started from: put it "
            "back, or choose another folder."
        )
    experiment = _Experiment(digits, settings)
    torch.manual_seed(settings.seed)
    reference = lenet300()
    if results.networks and reference_file.exists():
        _load(reference, reference_file)
        experiment.skip(settings.reference_epochs)
    else:
        experiment.train(reference, settings.reference_epochs, lambda share: 0.1 * 0.99 ** (300 * share), REFERENCE)
        # Through memory: torch has no error of its own for a write that failed.
        weights = io.BytesIO()
        torch.save(reference.state_dict(), weights)
        with writing(reference_file, AFTERWARDS) as temporary:
            temporary.write_bytes(weights.getvalue())
        results = Results(digits.name, settings).adding([experiment.measured(reference, REFERENCE, None, None)])
        _keep(results, kept)
    for lambda_ in settings.lambdas:
        if results.has(lambda_):
            experiment.skip(settings.epochs_of_each_lambda)
            continue
        torch.manual_seed(settings.seed)
        results = results.adding(*experiment.compare(reference, lambda_))
        _keep(results, kept)
    return results


def _load(network: nn.Module, path: Path) -> None:
    try:
        network.load_state_dict(torch.load(path, weights_only=True))
    except Exception as error:  # torch raises many kinds on damaged files
        raise DataError(
            f"{path} is damaged, or not LeNet300's weights; put the right file back, or choose another folder."
        ) from error


def _keep(results: Results, path: Path) -> None:
    with writing(path, AFTERWARDS) as temporary:
        write_results(results, temporary)


def lenet300() -> nn.Sequential:
    """Return the network, with random weights."""
    return nn.Sequential(
        OrderedDict(
            fc1=nn.Linear(784, 300), tanh1=nn.Tanh(), fc2=nn.Linear(300, 100), tanh2=nn.Tanh(), fc3=nn.Linear(100, 10)
        )
    )


class _Experiment:
    """Trains and measures, and shows the progress of it all.

    Args:
        digits: The data.
        settings: How long to train.
    """

    def __init__(self, digits: Digits, settings: Settings) -> None:
        self._digits = digits
        self._settings = settings
        self._epochs = settings.epochs
        self._done = 0
        self._line = ProgressLine()
        self._meter = Meter(self._epochs * len(digits.train))

    def skip(self, epochs: int) -> None:
        """Count epochs that an earlier run trained."""
        self._done += epochs
        self._meter = Meter(self._epochs * len(self._digits.train), self._done * len(self._digits.train))

    def compare(self, reference: nn.Module, lambda_: float) -> tuple[list[Network], History]:
        """Return the network with learned ranks and the truncated one, and the history of the first."""
        settings, digits = self._settings, self._digits
        found = compress(
            reference,
            lambda network, penalty, step: self.train(
                network,
                settings.step_epochs,
                lambda _: 0.1 * 0.98**step,
                f"λ {lambda_:g}, LC step {step} of {settings.steps - 1}",
                penalty,
            ),
            digits.train[:1],
            lambda_=lambda_,
            normalised=False,
            schedule=mu_schedule(1e-3, 1.1, settings.steps),
            measure=self.error,
        )
        cut = truncated_to(reference, digits.train[:1], found.macs)
        networks: list[Network] = []
        for method, network in ((LEARNED, found.network), (TRUNCATED, cut)):
            before = self.error(network)
            self.train(
                network,
                settings.finetune_epochs,
                lambda share: 0.02 * 0.99 ** (200 * share),
                f"λ {lambda_:g}, fine-tuning: {method}",
            )
            networks.append(self.measured(network, method, lambda_, before))
        steps = [
            LcStep(one.step, one.mu, dict(one.ranks), one.macs, one.storage, one.distance, one.measured)
            for one in found.history
            if one.measured is not None
        ]
        return networks, History(lambda_, tuple(steps))

    def train(
        self,
        network: nn.Module,
        epochs: int,
        rate: Callable[[float], float],
        what: str,
        penalty: Callable[[], Tensor] | None = None,
    ) -> None:
        """Train a network in place, starting with no momentum.

        Args:
            network: The network.
            epochs: Passes over the training images.
            rate: Returns the learning rate for the share of these epochs that is done.
            what: Names the work in the progress.
            penalty: Added to the loss of each batch.
        """
        optimiser = torch.optim.SGD(network.parameters(), 0.1, momentum=0.9, nesterov=True)
        images, labels = self._digits.train, self._digits.train_labels
        network.train()
        for epoch in range(epochs):
            optimiser.param_groups[0]["lr"] = rate(epoch / epochs)
            for batch in torch.randperm(len(images)).split(_BATCH):
                loss = F.cross_entropy(network(images[batch]), labels[batch])
                if penalty is not None:
                    loss = loss + penalty()
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
            self._done += 1
            self._line.show(self._meter.at(self._done * len(images)), f"; {what}")

    @torch.no_grad()
    def error(self, network: nn.Module) -> float:
        """Return the top-1 error on the test images, in percent."""
        answers = network.eval()(self._digits.test).argmax(1)
        return 100 * float((answers != self._digits.test_labels).double().mean())

    def measured(self, network: nn.Module, method: str, lambda_: float | None, before: float | None) -> Network:
        """Return a trained network's ranks, costs and error."""
        ranks = {name: len(one.V.weight) for name, one in network.named_children() if isinstance(one, Factored)}
        storage = sum(parameter.numel() for parameter in network.parameters())
        macs = survey(network, self._digits.train[:1]).macs
        return Network(method, lambda_, ranks, macs, storage, before, self.error(network))


def truncated_to(network: nn.Module, example: Tensor, macs: int) -> nn.Module:
    """Return a network whose truncated layers keep the same share of their energy: the largest that ``macs`` allows."""
    spectra = {
        name: lost_energy(Decomposition.of(target.module.weight, "scheme_1").s)
        for name, target in survey(network, example).targets.items()
    }
    shares = sorted({float(share) for lost in spectra.values() for share in lost})
    low, high = 0, len(shares) - 1  # at the last, every layer has rank 0
    while low < high:
        middle = (low + high) // 2
        if survey(_cut(network, example, spectra, shares[middle]), example).macs <= macs:
            high = middle
        else:
            low = middle + 1
    return _cut(network, example, spectra, shares[high])


def _cut(network: nn.Module, example: Tensor, spectra: Mapping[str, Tensor], lost: float) -> nn.Module:
    cut = copy.deepcopy(network)
    ranks = {name: int((one > lost).sum()) for name, one in spectra.items()}
    decompose(cut, survey(cut, example).targets, ranks, "scheme_1")
    return cut
