"""Recipes: one vocabulary for TOML files, command-line flags and ``--set``."""

from edgekd.config.bench import BenchRecipe
from edgekd.config.data import DataRecipe
from edgekd.config.export import ExportRecipe
from edgekd.config.methods import (
    CddRecipe,
    KdRecipe,
    LsskdRecipe,
    MethodName,
    RetrievalRecipe,
    SoftLabelsRecipe,
    TransformationName,
)
from edgekd.config.read import build_recipe, parse_assignments, read_recipe, to_toml
from edgekd.config.recovery import RecoveryRecipe
from edgekd.config.section import Section
from edgekd.config.train import AugmentRecipe, PrecisionChoice, SettledRecipe, TrainRecipe

__all__ = [
    "AugmentRecipe",
    "BenchRecipe",
    "CddRecipe",
    "DataRecipe",
    "ExportRecipe",
    "KdRecipe",
    "LsskdRecipe",
    "MethodName",
    "PrecisionChoice",
    "RecoveryRecipe",
    "RetrievalRecipe",
    "Section",
    "SettledRecipe",
    "SoftLabelsRecipe",
    "TrainRecipe",
    "TransformationName",
    "build_recipe",
    "parse_assignments",
    "read_recipe",
    "to_toml",
]
