"""Epochs, steps, precision, checkpoints and resume. The loop knows no method by name.

What a step does depends on seed, epoch and step alone, and every tensor that survives a step is in
the checkpoint, so a run that was killed and resumed ends with the weights of one that was not.
"""

import math
import time
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor, nn

from edgekd.bundle import CHECKPOINT_FILE
from edgekd.console import Tracker
from edgekd.distill.batches import View
from edgekd.distill.checkpoint import (
    Checkpoint,
    refusing_another_run,
    write_checkpoint,
)
from edgekd.distill.history import epoch_line, write_history
from edgekd.distill.interrupt import StopRequest, catching_stop_signals
from edgekd.distill.job import Job, Progress
from edgekd.distill.launch import synchronise_norms
from edgekd.distill.methods.protocol import Batch, Run
from edgekd.distill.optimization import (
    learning_rate,
    make_average,
    make_optimizer,
    restore_optimizer,
)
from edgekd.distill.precision import ChosenPrecision, autocast, choose_precision
from edgekd.errors import DivergenceError, InterruptedRun
from edgekd.evaluate.classification import normalise_all


class Loop:
    """One training run; :meth:`run` starts it, or continues a checkpoint given at construction."""

    def __init__(self, job: Job, student: nn.Module, checkpoint: Checkpoint | None) -> None:
        self.job = job
        recipe, fabric = job.recipe, job.fabric
        job.method.enter(
            Run(
                input_shape=job.specs[0].shape,
                steps_per_epoch=job.batches.steps_per_epoch,
                inputs=job.specs,
                num_samples=len(job.batches.labels),
                device=job.fabric.device,
                console=job.console,
            )
        )
        if checkpoint is not None:
            with refusing_another_run(job.folder / CHECKPOINT_FILE):
                job.method.load_state(checkpoint.parts.get("method", {}))
        # only now: what a method attaches may have norms of its own
        self.module = fabric.to_device(synchronise_norms(job.method.attach(student), fabric))
        self.module = self.module.to(memory_format=torch.channels_last)
        optimizer = make_optimizer(self.module, recipe, job.method.parameter_groups(self.module))
        self.average = make_average(self.module, recipe.ema_decay) if recipe.ema_decay else None
        self.progress = Progress()
        if checkpoint is None:
            self.precision = self._choose_precision()
        else:
            with refusing_another_run(job.folder / CHECKPOINT_FILE):
                self._restore(checkpoint, optimizer)
        self.wrapped, self.optimizer = fabric.setup(self.module, optimizer)
        self._saved_at = time.monotonic()

    def run(self) -> nn.Module:
        """Train to the last epoch and return the plain student (its average, where one is kept).

        Raises:
            DivergenceError: If the loss becomes NaN or infinite.
            InterruptedRun: After Ctrl-C or SIGTERM, with a checkpoint written.
            OutputError: If a checkpoint cannot be written; the last good one stays.
        """
        recipe, steps = self.job.recipe, self.job.batches.steps_per_epoch
        done = self.progress.epoch * steps + self.progress.step
        with (
            catching_stop_signals() as stop,
            self.job.console.track("training", recipe.epochs * steps, done) as tracker,
        ):
            if done == 0:
                self._save()  # a run killed in its first epoch keeps the precision it chose
            while self.progress.epoch < recipe.epochs:
                self._epoch(stop, tracker)
        return self.job.method.finish(self._deployed())

    def _epoch(self, stop: StopRequest, tracker: Tracker) -> None:
        progress, batches = self.progress, self.job.batches
        tracker.describe(f"epoch {progress.epoch + 1}/{self.job.recipe.epochs}")
        self.wrapped.train()
        clock = time.monotonic()
        for view in batches.epoch(progress.epoch, first_step=progress.step):
            losses = self._step(view)
            now = time.monotonic()
            progress.add_step(losses, now - clock)
            clock = now
            tracker.advance()
            self._save_or_stop(stop, last=progress.step == batches.steps_per_epoch)
        self._close_epoch(clock)

    def _step(self, view: View) -> dict[str, float]:
        job = self.job
        rate = self._prepare_step()
        with autocast(self.precision, job.fabric.device):
            losses = job.method.losses(self.wrapped, self._batch(view))
        values = {name: float(term) for name, term in losses.terms.items()}
        values["train_loss"] = float(losses.total.detach())
        if not math.isfinite(values["train_loss"]):
            self._diverged(values["train_loss"], rate)
        self.optimizer.zero_grad(set_to_none=True)
        job.fabric.backward(losses.total)
        job.method.after_backward(self.module)
        if job.recipe.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(self.module.parameters(), job.recipe.clip_norm)
        self.optimizer.step()
        job.method.after_step(self.module)
        if self.average is not None:
            self.average.update_parameters(self.module)
        return values

    def _prepare_step(self) -> float:
        """Set learning rate and random state from the step's number; return the rate."""
        job, steps = self.job, self.job.batches.steps_per_epoch
        number = self.progress.epoch * steps + self.progress.step
        rate = learning_rate(job.recipe, number, steps_per_epoch=steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group.get("lr_scale", 1.0)
        # Dropout and stochastic depth draw from torch's global generator, each process its own.
        seed = np.random.default_rng([job.recipe.seed, number, job.fabric.global_rank])
        torch.manual_seed(int(seed.integers(2**62)))
        return rate

    def _batch(self, view: View) -> Batch:
        teacher = self.job.teacher
        return Batch(
            inputs=normalise_all(view.inputs, self.job.specs),
            targets=view.targets,
            indices=view.indices,
            teacher=teacher(*view.inputs) if teacher is not None else None,
        )

    def _close_epoch(self, clock: float) -> None:
        progress, job = self.progress, self.job
        job.method.after_epoch(progress.epoch)
        self._reshape()
        row: dict[str, Any] = {
            "epoch": progress.epoch,
            "step": job.batches.steps_per_epoch * (progress.epoch + 1),
            **progress.means(),
            "lr": float(self.optimizer.param_groups[0]["lr"]),
            "seconds": progress.epoch_seconds,
            **job.method.progress(self.module, progress.epoch_seconds),
        }
        if job.fabric.is_global_zero:
            metric = job.validate(self._deployed())
            row[f"{metric.split}_{metric.name}"] = metric.value
        row["wall_time"] = time.time()
        progress.close_epoch(row, time.monotonic() - clock)
        self._save()
        if job.fabric.is_global_zero:
            write_history(job.folder, progress.rows)
            job.console.info(epoch_line(row, job.recipe.epochs))
        job.fabric.barrier()

    def _reshape(self) -> None:
        """Let the method replace parameters; the wrapper of several processes is made anew."""
        optimizer = self.optimizer.optimizer  # inside Fabric's wrapper
        average = None if self.average is None else self.average.module
        if self.job.method.reshape(self.module, average, optimizer):
            self.wrapped, self.optimizer = self.job.fabric.setup(self.module, optimizer)
            self.wrapped.train()

    def _save_or_stop(self, stop: StopRequest, *, last: bool) -> None:
        late = time.monotonic() - self._saved_at > 60 * self.job.recipe.checkpoint_minutes
        requested, due = self._agreed(stop.requested, late)
        if requested or (due and not last):
            self._save()
        if requested:
            raise InterruptedRun(
                f"{self.job.folder}: stopped after step {self.progress.step} of epoch "
                f"{self.progress.epoch + 1} with a checkpoint; the same command with --resume "
                "goes on"
            )

    def _agreed(self, *wishes: bool) -> list[bool]:
        """What any process wishes, all do after the same step."""
        fabric = self.job.fabric
        if fabric.world_size == 1:
            return list(wishes)
        mine = torch.tensor(wishes, dtype=torch.int32, device=fabric.device)
        found = fabric.all_reduce(mine, reduce_op="max")
        if not isinstance(found, Tensor):
            raise TypeError(f"expected a tensor of wishes, found {type(found).__name__}")
        return [bool(wish) for wish in found.tolist()]

    def _save(self) -> None:
        self._saved_at = time.monotonic()
        state = self.job.method.state()  # may gather from all processes, so all of them ask
        if not self.job.fabric.is_global_zero:
            return
        parts = {"student": self.module.state_dict(), "method": state}
        if self.average is not None:
            parts["average"] = self.average.state_dict()
        checkpoint = Checkpoint(
            parts=parts,
            optimizer=self.optimizer.state_dict(),
            facts=self.job.facts | {"precision": self.precision} | self.progress.facts(),
        )
        write_checkpoint(self.job.folder / CHECKPOINT_FILE, checkpoint)

    def _restore(self, checkpoint: Checkpoint, optimizer: torch.optim.Optimizer) -> None:
        self.precision = checkpoint.facts["precision"]
        self.module.load_state_dict(checkpoint.parts["student"])
        restore_optimizer(optimizer, checkpoint.optimizer)
        if self.average is not None:
            self.average.load_state_dict(checkpoint.parts["average"])
        self.progress = Progress.of(checkpoint)

    def _choose_precision(self) -> ChosenPrecision:
        job = self.job
        if job.recipe.precision != "auto":
            return job.recipe.precision
        view = next(job.batches.epoch(0))

        def step_loss(trial: nn.Module) -> Tensor:
            return job.method.losses(trial.train(), self._batch(view)).total

        torch.manual_seed(job.recipe.seed)
        chosen = choose_precision(
            self.module,
            step_loss,
            job.fabric.device,
            steps=job.recipe.epochs * job.batches.steps_per_epoch,
            console=job.console,
        )
        agreed: ChosenPrecision = job.fabric.broadcast(chosen)
        return agreed

    def _deployed(self) -> nn.Module:
        return self.module if self.average is None else self.average.module

    def _diverged(self, loss: float, rate: float) -> NoReturn:
        raise DivergenceError(
            f"the loss became {loss} at step {self.progress.step + 1} of epoch "
            f"{self.progress.epoch + 1} (lr {rate:.3g}, {self.precision}); lower --lr, lengthen "
            "the warm-up, set clip_norm=1, or try --precision fp32"
        )
