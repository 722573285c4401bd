"""Metrics of a task: from logits in numpy, and of a module in torch."""
