"""Layered self-supervised distillation: branches teach a network that is deployed without them."""

from edgekd.distill.methods.lsskd.method import LayeredSelfDistillation

__all__ = ["LayeredSelfDistillation"]
