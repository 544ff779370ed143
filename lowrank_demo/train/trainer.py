"""Training a network for some epochs: optimisation, evaluation, checkpoints; one process or several (torchrun)."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import DataError, NotWritten, TrainingDiverged, UsageError
from ..models.architecture import Layer
from ..runtime.files import atomic_write
from ..runtime.processes import Processes
from ..runtime.progress import Meter, ProgressLine, duration
from .config import StageConfig
from .data import Batches
from .teacher import load_teacher


@dataclass
class Hooks:
    """What a stage adds to plain training."""

    before_epoch: Callable[[int], None] = lambda epoch: None
    extra_loss: Callable[[], Tensor] | None = None
    after_epoch: Callable[[int, float], None] = lambda epoch, error: None
    state: Callable[[], Mapping[str, Any]] = lambda: {}
    load: Callable[[Mapping[str, Any]], None] = lambda state: None
    rate: Callable[[float], float] | None = None
    """Factor on the learning rate from the epoch, with its fraction; None for warm-up and cosine."""


class Trainer:
    """Trains one network.

    Args:
        network: Moved to the device and trained in place.
        stage: How.
        epochs: How long, in all.
        train: Batches to learn from.
        validation: Batches to measure on.
        processes: From :meth:`Processes.join`.
        checkpoint: File that keeps the state after every epoch.
        hooks: What the stage adds.
        frozen: Layers that stay as they are, with the batch normalisation after each.
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
        hooks: Hooks | None = None,
        frozen: Sequence[Layer] = (),
    ) -> None:
        # Channels last: a sixth faster on the CPU, and what tensor cores want.
        self.network = network.to(processes.device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self._stage, self._epochs = stage, epochs
        self._train, self._validation = train, validation
        self._processes, self._checkpoint = processes, checkpoint
        self._hooks = hooks or Hooks()
        self._frozen = [self.network.get_submodule(key).requires_grad_(False) for key in _keys_of(frozen)]
        self._optimiser = _optimiser(self.network, stage)
        self._scaler = torch.amp.GradScaler(processes.device.type, enabled=stage.precision == "fp16")
        self._average = copy.deepcopy(self.network).requires_grad_(False) if stage.ema else None
        self._teacher = load_teacher(stage.teacher, processes.device)
        self._forward: nn.Module = self.network
        if processes.world > 1:
            ids = [processes.device.index] if processes.device.type == "cuda" else None
            self._forward = nn.parallel.DistributedDataParallel(self.network, device_ids=ids)
        self.epoch = 0

    @property
    def best(self) -> nn.Module:
        """The network to keep: the averaged one where there is one."""
        return self._average if self._average is not None else self.network

    def run(self, resume: bool) -> None:
        """Train to the last epoch, saving after each.

        Raises:
            DataError: The checkpoint is damaged.
            NotWritten: The disk is full.
            TrainingDiverged: The loss is no longer finite.
        """
        if resume:
            self._load()
        line = ProgressLine()
        while self.epoch < self._epochs:
            self._hooks.before_epoch(self.epoch)
            loss = self._one_epoch(line)
            error = self.validate()
            self.epoch += 1
            self._hooks.after_epoch(self.epoch, error)
            if self._processes.rank == 0:
                self._save()
                print(f"epoch {self.epoch} of {self._epochs}: loss {loss:.4f}, top-1 error {error:.2f} %", flush=True)

    @torch.no_grad()
    def validate(self) -> float:
        """Top-1 error in percent on the validation batches."""
        network = self.best.eval()
        counts = torch.zeros(2, dtype=torch.int64, device=self._processes.device)
        for images, labels in self._validation.epoch(0):
            with self._autocast():
                logits = network(self._moved(images))
            right = (logits.argmax(1).cpu() == labels).sum()
            counts += torch.tensor([int(right), len(labels)], device=counts.device)
        right, count = self._processes.sum(counts).tolist()
        return 100 * (count - right) / max(count, 1)

    def _one_epoch(self, line: ProgressLine) -> float:
        self._forward.train()
        for module in self._frozen:
            module.eval()
        batches = self._train.per_epoch
        if batches == 0:
            raise UsageError("The training file holds fewer images than one batch; expected a smaller batch_size.")
        to_come = batches * (self._epochs - self.epoch)
        meter: Meter | None = None
        total = 0.0
        for number, (images, labels) in enumerate(self._train.epoch(self.epoch)):
            self._set_rate(self.epoch + number / batches)
            loss = self._step(self._moved(images), labels.to(self._processes.device))
            if not math.isfinite(loss):
                raise TrainingDiverged(
                    f"The loss became {loss} in epoch {self.epoch + 1}; lower the learning rate and --resume."
                )
            total += loss
            # The first one waited for the workers to start: it says nothing of the time left.
            meter = meter or Meter(to_come, 1)
            if self._processes.rank == 0:
                progress = meter.at(number + 1)
                left = progress.seconds_left
                ends = f", {duration(left)} left in all" if left is not None else ""
                line.show_text(f"epoch {self.epoch + 1}, batch {number + 1} of {batches}, loss {loss:.3f}{ends}")
        return total / batches

    def _step(self, images: Tensor, labels: Tensor) -> float:
        with self._autocast():
            logits = self._forward(images)
            loss = F.cross_entropy(logits.float(), labels, label_smoothing=self._stage.label_smoothing)
            if self._teacher is not None:
                loss = torch.lerp(loss, self._distillation(images, logits), self._stage.teacher_weight)
        if self._hooks.extra_loss is not None:
            loss = loss + self._hooks.extra_loss()
        self._optimiser.zero_grad(set_to_none=True)
        self._scaler.scale(loss).backward()
        if self._stage.clip:
            self._scaler.unscale_(self._optimiser)
            nn.utils.clip_grad_norm_(self.network.parameters(), self._stage.clip)
        self._scaler.step(self._optimiser)
        self._scaler.update()
        if self._average is not None:
            with torch.no_grad():
                for kept, new in zip(
                    self._average.state_dict().values(), self.network.state_dict().values(), strict=True
                ):
                    if kept.is_floating_point():
                        kept.lerp_(new, 1 - self._stage.ema)
                    else:
                        kept.copy_(new)
        return float(loss.detach())

    def _moved(self, images: Tensor) -> Tensor:
        return images.to(self._processes.device, memory_format=torch.channels_last)

    def _distillation(self, images: Tensor, logits: Tensor) -> Tensor:
        """Kullback-Leibler divergence from the teacher's softened answers, scaled by T²."""
        assert self._teacher is not None
        t = self._stage.temperature
        with torch.no_grad():
            wanted = F.log_softmax(self._teacher(images).float() / t, 1)
        return F.kl_div(F.log_softmax(logits.float() / t, 1), wanted, log_target=True, reduction="batchmean") * t**2

    def _set_rate(self, epoch: float) -> None:
        warm = min(1.0, (epoch + 1e-3) / self._stage.warmup_epochs) if self._stage.warmup_epochs else 1.0
        if self._hooks.rate is not None:
            factor = self._hooks.rate(epoch)
        else:
            factor = warm * 0.5 * (1 + math.cos(math.pi * min(1.0, epoch / self._epochs)))
        for group in self._optimiser.param_groups:
            group["lr"] = self._stage.learning_rate * factor

    def _autocast(self) -> torch.autocast:
        kinds = {"bf16": torch.bfloat16, "fp16": torch.float16}
        kind = kinds.get(self._stage.precision)
        return torch.autocast(self._processes.device.type, dtype=kind, enabled=kind is not None)

    def _save(self) -> None:
        state = {
            "epoch": self.epoch,
            "network": self.network.state_dict(),
            "average": self._average.state_dict() if self._average is not None else {},
            "optimiser": self._optimiser.state_dict(),
            "scaler": self._scaler.state_dict(),
            "stage": dict(self._hooks.state()),
            "torch_rng": torch.get_rng_state(),
        }
        try:
            with atomic_write(self._checkpoint) as temporary:
                torch.save(state, temporary)
        except (OSError, RuntimeError) as error:  # torch has no error of its own for a write that failed
            raise NotWritten(
                f"The checkpoint {self._checkpoint} could not be written; free space, then --resume goes on from the "
                "one before it."
            ) from error

    def _load(self) -> None:
        if not self._checkpoint.exists():
            return
        state = load_checkpoint(self._checkpoint)
        self.network.load_state_dict(state["network"])
        if self._average is not None:
            self._average.load_state_dict(state["average"])
        self._optimiser.load_state_dict(state["optimiser"])
        self._scaler.load_state_dict(state["scaler"])
        self._hooks.load(state["stage"])
        torch.set_rng_state(state["torch_rng"].cpu())
        self.epoch = int(state["epoch"])


def load_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint's values; nothing in it is executed.

    Raises:
        DataError: It is not there, or damaged.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise DataError(f"There is no {path}; run the stage before this one first.") from error
    except Exception as error:  # torch raises many kinds on damaged files
        raise DataError(f"{path} is damaged; delete it and run its stage again.") from error


def _keys_of(layers: Sequence[Layer]) -> list[str]:
    """Of the layers and of the module after each."""
    keys: list[str] = []
    for layer in layers:
        stack, _, place = layer.key.rpartition(".")
        keys += [layer.key, f"{stack}.{int(place) + 1}"]
    return keys


def _optimiser(network: nn.Module, stage: StageConfig) -> torch.optim.Optimizer:
    decayed = [p for p in network.parameters() if p.dim() > 1]
    plain = [p for p in network.parameters() if p.dim() <= 1]
    groups = [{"params": decayed, "weight_decay": stage.weight_decay}, {"params": plain, "weight_decay": 0.0}]
    if stage.optimiser == "adamw":
        return torch.optim.AdamW(groups, lr=stage.learning_rate)
    return torch.optim.SGD(groups, lr=stage.learning_rate, momentum=stage.momentum, nesterov=stage.momentum > 0)
