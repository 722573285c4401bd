"""Capacity Dynamic Distillation: a student that starts as large as its teacher and ends small."""

from edgekd.distill.methods.cdd.method import CapacityDynamicDistillation

__all__ = ["CapacityDynamicDistillation"]
