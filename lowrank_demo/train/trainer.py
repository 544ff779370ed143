"""Train a network epoch by epoch: optimisation, validation, checkpoints; in one process or several (torchrun)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ..errors import DataError, NotWritten, TrainingDiverged, UsageError
from ..models.architecture import Layer
from ..nn.nested import NestedAlexNet, set_dropout
from ..runtime.files import atomic_write
from ..runtime.processes import Processes
from ..runtime.progress import Meter, ProgressLine, duration
from .batches import Batches
from .config import StageConfig
from .teacher import load_teacher


@dataclass(frozen=True)
class Measured:
    """How a network did on the validation batches."""

    loss: float
    """Mean cross entropy; 0 without images."""
    top1_error: float
    """In percent; 0 without images."""


class Trainer:
    """Trains one network.

    A stage repeats ``train_epoch``, ``validate``, ``save`` and ``report`` until ``epoch`` reaches ``epochs``.

    Args:
        network: Moved to the device and trained in place.
        stage: Optimisation settings.
        epochs: Number of epochs of the whole stage.
        train: Batches to learn from.
        validation: Batches to measure on.
        processes: From :meth:`Processes.join`.
        checkpoint: File that keeps the state.
        frozen: Layers that are not trained; nor is the batch normalisation after each.
    """

    def __init__(
        self,
        network: nn.Module,
        stage: StageConfig,
        epochs: int,
        train: Batches,
        validation: Batches,
        processes: Processes,
        checkpoint: Path,
        frozen: Sequence[Layer] = (),
    ) -> None:
        # Channels last: a sixth faster on the CPU, and what tensor cores want.
        self.network = network.to(processes.device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self.epochs = epochs
        self.epoch = 0
        """Number of finished epochs."""
        self._stage = stage
        self._train, self._validation = train, validation
        self._processes, self._checkpoint = processes, checkpoint
        self._frozen = [self.network.get_submodule(key).requires_grad_(False) for key in _keys_of(frozen)]
        set_dropout(self.network, stage.dropout)
        self._optimiser = optimiser_of(self.network, stage)
        self._scaler = torch.amp.GradScaler(processes.device.type, enabled=stage.precision == "fp16")
        self._average = _average(self.network, stage.ema) if stage.ema else None
        self._teacher = load_teacher(stage.teacher, processes.device)
        self._forward: nn.Module = self.network
        if processes.world > 1:
            ids = [processes.device.index] if processes.device.type == "cuda" else None
            # A batch goes through one of several nested versions, which does not use the others' parameters.
            nested = isinstance(self.network, NestedAlexNet)
            self._forward = nn.parallel.DistributedDataParallel(
                self.network, device_ids=ids, find_unused_parameters=nested
            )
        self._line = ProgressLine()

    @property
    def best(self) -> nn.Module:
        """The network to keep: the one with averaged weights if there is one."""
        return self._average.module if self._average is not None else self.network

    def restart(self) -> None:
        """Reset the optimiser's own state, such as momentum."""
        self._optimiser = optimiser_of(self.network, self._stage)

    def train_epoch(self, extra_loss: Callable[[], Tensor] | None = None, rate: float | None = None) -> float:
        """Train on every batch once and return the mean loss.

        Args:
            extra_loss: Called for each batch; the scalar that it returns is added to the loss.
            rate: Factor on the learning rate; None for the stage's own schedule: a linear warm-up, and its decay or a
                cosine to zero over all epochs.

        Raises:
            TrainingDiverged: The loss is no longer finite.
            UsageError: An epoch has less than one batch.
        """
        self._forward.train()
        for module in self._frozen:
            module.eval()
        batches = self._train.per_epoch
        if batches == 0:
            raise UsageError("An epoch has fewer images than one batch; expected a smaller batch_size, or fewer parts.")
        to_come = batches * (self.epochs - self.epoch)
        meter: Meter | None = None
        total = 0.0
        for number, (images, labels, answers) in enumerate(self._train.epoch(self.epoch)):
            self._set_rate(self._scheduled(self.epoch + number / batches) if rate is None else rate)
            labels, answers = labels.to(self._processes.device), answers.to(self._processes.device)
            loss = self._step(self._moved(images), labels, answers, extra_loss)
            if not math.isfinite(loss):
                raise TrainingDiverged(
                    f"The loss became {loss} in epoch {self.epoch + 1}; lower the learning rate and --resume."
                )
            total += loss
            # The first batch waited for the workers to start, so that its time says nothing about the others.
            meter = meter or Meter(to_come, 1)
            if self._processes.rank == 0:
                progress = meter.at(number + 1)
                left = progress.seconds_left
                ends = f", {duration(left)} left in all" if left is not None else ""
                self._line.show_text(f"epoch {self.epoch + 1}, batch {number + 1} of {batches}, loss {loss:.3f}{ends}")
        self.epoch += 1
        return total / batches

    @torch.no_grad()
    def validate(self, network: nn.Module | None = None) -> Measured:
        """Measure a network on the validation batches, in evaluation mode.

        Args:
            network: On this trainer's device; None for :attr:`best`.
        """
        network = (self.best if network is None else network).eval()
        sums = torch.zeros(3, dtype=torch.float64, device=self._processes.device)
        for images, labels, _ in self._validation.epoch(0):
            with self._autocast():
                logits = network(self._moved(images)).float().cpu()
            right, loss = (logits.argmax(1) == labels).sum(), F.cross_entropy(logits, labels, reduction="sum")
            sums += torch.tensor([float(right), float(loss), len(labels)], device=sums.device)
        right, loss, count = self._processes.sum(sums).tolist()
        return Measured(loss / max(count, 1), 100 * (count - right) / max(count, 1))

    def save(self, extra: Mapping[str, Any] | None = None) -> None:
        """Write the checkpoint, in the first process.

        Args:
            extra: The stage's own values, which :meth:`load` returns.

        Raises:
            NotWritten: The disk is full.
        """
        if self._processes.rank != 0:
            return
        device = self._processes.device
        state = {
            "epoch": self.epoch,
            "network": self.network.state_dict(),
            "average": self._average.module.state_dict() if self._average is not None else {},
            "optimiser": self._optimiser.state_dict(),
            "scaler": self._scaler.state_dict(),
            "stage": dict(extra or {}),
            "torch_rng": torch.get_rng_state(),
            "cuda_rng": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
        }
        try:
            with atomic_write(self._checkpoint) as temporary:
                torch.save(state, temporary)
        except (OSError, RuntimeError) as error:  # torch has no error of its own for a write that failed
            raise NotWritten(
                f"The checkpoint {self._checkpoint} could not be written; free space, then --resume continues from "
                "the one before it."
            ) from error

    def load(self) -> dict[str, Any] | None:
        """Continue from the checkpoint; return what the stage saved in it, or None if there is no checkpoint.

        Raises:
            DataError: The checkpoint is damaged.
        """
        if not self._checkpoint.exists():
            return None
        state = load_checkpoint(self._checkpoint)
        self.network.load_state_dict(state["network"])
        if self._average is not None:
            self._average.module.load_state_dict(state["average"])
        self._optimiser.load_state_dict(state["optimiser"])
        self._scaler.load_state_dict(state["scaler"])
        torch.set_rng_state(state["torch_rng"].cpu())
        # Dropout on a GPU draws from that GPU's own generator. A run may continue on a device where it did not begin.
        if self._processes.device.type == "cuda" and state.get("cuda_rng") is not None:
            torch.cuda.set_rng_state(state["cuda_rng"], self._processes.device)
        self.epoch = int(state["epoch"])
        return state["stage"]

    def report(self, loss: float, *errors: float) -> None:
        """Print one line about the epoch that was just finished, in the first process."""
        if self._processes.rank == 0:
            shown = ", ".join(f"{error:.2f}" for error in errors)
            print(f"epoch {self.epoch} of {self.epochs}: loss {loss:.4f}, top-1 error {shown} %", flush=True)

    def _step(self, images: Tensor, labels: Tensor, answers: Tensor, extra_loss: Callable[[], Tensor] | None) -> float:
        with self._autocast():
            logits = self._forward(images).float()
            loss = self._loss(images, logits, labels, answers)
        if extra_loss is not None:
            loss = loss + extra_loss()
        self._optimiser.zero_grad(set_to_none=True)
        self._scaler.scale(loss).backward()
        if self._stage.clip:
            self._scaler.unscale_(self._optimiser)
            nn.utils.clip_grad_norm_(self.network.parameters(), self._stage.clip)
        self._scaler.step(self._optimiser)
        self._scaler.update()
        if self._average is not None:
            self._average.update_parameters(self.network)
        return float(loss.detach())

    def _moved(self, images: Tensor) -> Tensor:
        return images.to(self._processes.device, memory_format=torch.channels_last)

    def _loss(self, images: Tensor, logits: Tensor, labels: Tensor, answers: Tensor) -> Tensor:
        """Return the cross entropy, or its mean with the divergence from a teacher, weighted by ``teacher_weight``."""
        if self._teacher is not None:
            with torch.no_grad():
                answers = self._teacher(images)
        weight = self._stage.teacher_weight if answers.numel() else 0.0
        if weight == 1:  # photos without labels
            return self._distillation(answers, logits)
        loss = F.cross_entropy(logits, labels, label_smoothing=self._stage.label_smoothing)
        return torch.lerp(loss, self._distillation(answers, logits), weight) if weight else loss

    def _distillation(self, answers: Tensor, logits: Tensor) -> Tensor:
        """Return the Kullback-Leibler divergence from the teacher's softened answers, times T²."""
        t = self._stage.temperature
        wanted = F.log_softmax(answers.float() / t, 1)
        return F.kl_div(F.log_softmax(logits / t, 1), wanted, log_target=True, reduction="batchmean") * t**2

    def _scheduled(self, epoch: float) -> float:
        """Return the factor on the learning rate at a point in time: of the warm-up, and of the decay or the cosine."""
        warm = min(1.0, (epoch + 1e-3) / self._stage.warmup_epochs) if self._stage.warmup_epochs else 1.0
        if self._stage.learning_rate_decay:
            return warm * self._stage.learning_rate_decay ** int(epoch)
        return warm * 0.5 * (1 + math.cos(math.pi * min(1.0, epoch / self.epochs)))

    def _set_rate(self, factor: float) -> None:
        for group in self._optimiser.param_groups:
            group["lr"] = self._stage.learning_rate * factor

    def _autocast(self) -> torch.autocast:
        kinds = {"bf16": torch.bfloat16, "fp16": torch.float16}
        kind = kinds.get(self._stage.precision)
        return torch.autocast(self._processes.device.type, dtype=kind, enabled=kind is not None)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Return a checkpoint's values, on the CPU; nothing in the file is executed.

    Raises:
        UsageError: It is not there.
        DataError: It is damaged, or not the checkpoint of a stage.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise UsageError(f"There is no {path}; run the stage before this one first.") from error
    except Exception as error:  # torch raises many kinds on damaged files
        raise DataError(f"{path} is damaged; delete it and run its stage again.") from error
    if not isinstance(state, dict) or not {"epoch", "network", "average", "stage"} <= state.keys():
        raise DataError(f"{path} is not the checkpoint of a training stage; delete it and run its stage again.")
    return state


def _average(network: nn.Module, decay: float) -> AveragedModel:
    """Return an exponential moving average of the weights and running statistics, which starts at the present ones."""
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)
    average.update_parameters(network)  # the first call copies, each later one averages
    return average


def _keys_of(layers: Sequence[Layer]) -> list[str]:
    """Return the state_dict prefixes of the layers and of the batch normalisation after each."""
    keys: list[str] = []
    for layer in layers:
        stack, _, place = layer.key.rpartition(".")
        keys += [layer.key, f"{stack}.{int(place) + 1}"]
    return keys


def optimiser_of(network: nn.Module, stage: StageConfig) -> torch.optim.Optimizer:
    """Return a stage's optimiser; weight decay is for parameters of two dimensions or more."""
    decayed = [p for p in network.parameters() if p.dim() > 1]
    plain = [p for p in network.parameters() if p.dim() <= 1]
    groups = [{"params": decayed, "weight_decay": stage.weight_decay}, {"params": plain, "weight_decay": 0.0}]
    if stage.optimiser == "adamw":
        return torch.optim.AdamW(groups, lr=stage.learning_rate, fused=True)
    return torch.optim.SGD(groups, lr=stage.learning_rate, momentum=stage.momentum, nesterov=stage.momentum > 0)
