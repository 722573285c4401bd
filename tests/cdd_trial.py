"""CDD on batches of noise, step by step, without the loop around it."""

import torch

from edgekd.config import TrainRecipe
from edgekd.distill.methods.cdd import CapacityDynamicDistillation
from edgekd.distill.methods.protocol import Batch, Run
from edgekd.distill.optimization import learning_rate, make_average, make_optimizer
from edgekd.students.build import build_student, parse_student
from edgekd.students.taps import pooled_outputs
from edgekd.teachers.protocol import TeacherOutput

SHAPE = (3, 8, 8)
STEPS = 4


def recipe(cdd=None, **changes):
    table = {"queue_size": 32, **(cdd or {})}
    plan = {"data": "x", "student": "resnet8", "teacher": "t", "method": "cdd", "epochs": 6}
    return TrainRecipe(**(plan | {"batch_size": 8, "lr": 0.05, "cdd": table} | changes))


def arch_of(name="resnet8", **options):
    options = options or {"width": 8}
    return parse_student(name, options, num_classes=4, in_channels=3, input_size=SHAPE[1:])


class Trial:
    """What the loop does around a method, without the loop."""

    def __init__(self, plan, arch=None, state=None, weights=None, ema=None):
        self.arch = arch or arch_of()
        torch.manual_seed(0)
        self.teacher = build_student(self.arch).eval()
        self.method, self.plan = CapacityDynamicDistillation(plan), plan
        self.method.enter(Run(input_shape=SHAPE, steps_per_epoch=STEPS))
        self.layers = self.method.teacher_layers(self.teacher)
        if state is not None:
            self.method.load_state(state)
        self.module = self.method.attach(build_student(self.arch)).train()
        if weights is not None:
            self.module.load_state_dict(weights)
        groups = self.method.parameter_groups(self.module)
        self.optimizer = make_optimizer(self.module, plan, groups)
        self.average = make_average(self.module, ema) if ema else None

    def batch(self, number):
        generator = torch.Generator().manual_seed(number)
        targets = torch.randint(0, 4, (8,), generator=generator)
        x = torch.randn(8, *SHAPE, generator=generator) + targets[:, None, None, None] / 2
        with torch.no_grad(), pooled_outputs(self.layers) as pooled:
            logits = self.teacher(x)
        answer = TeacherOutput(logits=logits, pooled=tuple(pooled))
        return Batch(inputs=(x,), targets=targets, indices=torch.arange(8), teacher=answer)

    def step(self, number):
        for group in self.optimizer.param_groups:
            rate = learning_rate(self.plan, number, steps_per_epoch=STEPS)
            group["lr"] = rate * group.get("lr_scale", 1.0)
        losses = self.method.losses(self.module, self.batch(number))
        self.optimizer.zero_grad(set_to_none=True)
        losses.total.backward()
        self.method.after_backward(self.module)
        self.optimizer.step()
        self.method.after_step(self.module)
        if self.average is not None:
            self.average.update_parameters(self.module)
        return losses

    def epochs(self, first=0, last=None):
        last = self.plan.epochs if last is None else last
        for epoch in range(first, last):
            for step in range(STEPS):
                self.step(epoch * STEPS + step)
            average = None if self.average is None else self.average.module
            self.method.reshape(self.module, average, self.optimizer)
            self.row = self.method.progress(self.module, 1.0)
        return self
