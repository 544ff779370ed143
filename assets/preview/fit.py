"""The training loop of the recipe's own steps: the heads, and the matching of the convolutions."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from lowrank_demo.errors import UsageError
from lowrank_demo.runtime.files import atomic_write
from lowrank_demo.runtime.progress import Meter, ProgressLine
from lowrank_demo.train.config import RunConfig
from lowrank_demo.train.trainer import optimiser_of


def fit(
    network: nn.Module, losses: Callable[[int], Iterator[Tensor]], per_epoch: int, config: RunConfig, name: str
) -> None:
    """Train with AdamW or SGD, as the run's [finetune] says, and the one-cycle schedule.

    Args:
        network: Trained in place.
        losses: Yields the loss of each batch of an epoch.
        per_epoch: Number of batches in an epoch.
        config: The run.
        name: Name of the checkpoint in the run's folder. If stopped, the next call continues after the last whole
            epoch.

    Raises:
        UsageError: The checkpoint belongs to another run.
    """
    stage, batch = config.finetune, config.data.batch_size
    optimiser = optimiser_of(network, stage)
    total = per_epoch * stage.epochs
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, stage.learning_rate, total_steps=total)
    checkpoint = config.folder / f"{name}.pt"
    first = 0
    run = [total, batch, config.seed, config.data.train.stat().st_size, str(stage)]
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        if state["run"] != run:
            raise UsageError(
                f"{checkpoint} is from a run with other photos, settings or seed; expected one of this run: "
                "delete it to start again."
            )
        torch.set_rng_state(state["rng"])
        network.load_state_dict(state["network"])
        optimiser.load_state_dict(state["optimiser"])
        schedule.load_state_dict(state["schedule"])
        first = state["epoch"]
    line, meter = ProgressLine(), Meter(total * batch, first * per_epoch * batch)
    network.train()
    for epoch in range(first, stage.epochs):
        summed = 0.0
        for number, loss in enumerate(losses(epoch), start=1):
            optimiser.zero_grad()
            loss.backward()
            if stage.clip:
                nn.utils.clip_grad_norm_(network.parameters(), stage.clip)
            optimiser.step()
            schedule.step()
            summed += loss.item()
            line.show(meter.at((epoch * per_epoch + number) * batch), f", loss {summed / number:.3f}")
        print(f"epoch {epoch + 1} of {stage.epochs}: loss {summed / per_epoch:.4f}", flush=True)
        state = {
            "run": run,
            "rng": torch.get_rng_state(),
            "network": network.state_dict(),
            "optimiser": optimiser.state_dict(),
            "schedule": schedule.state_dict(),
        }
        with atomic_write(checkpoint) as temporary:
            torch.save({**state, "epoch": epoch + 1}, temporary)
