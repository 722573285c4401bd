"""Any architecture of timm, by name.

A name is looked up in timm's registry and nowhere else: a hub identifier or a local folder could
bring code or a pickle along, and neither can be repeated from a bundle.
"""

import difflib
import functools
import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import nn

from edgekd.errors import ModelError
from edgekd.records import ArchSpec
from edgekd.students import resnet

if TYPE_CHECKING:  # timm takes three seconds to import; its functions do that when they need it
    from timm.models import PretrainedCfg

FAMILY: Final = "timm"

_PREFIX: Final = "timm:"


def parse(
    name: str,
    options: Mapping[str, Any],
    *,
    num_classes: int,
    in_channels: int,
    input_size: tuple[int, int],
    embedding_dim: int | None = None,
) -> ArchSpec:
    """The ArchSpec of a timm architecture, built and run once to see that it takes the input.

    Architectures that timm marks as built for one input size get ``img_size`` from
    ``input_size`` unless the options already say it.

    Args:
        name: ``timm:mobilevit_s`` or ``mobilevit_s``; a tag after a dot chooses among weights.
        options: Arguments of the architecture, for example ``{"drop_path_rate": 0.1}``.
        num_classes: ``K``.
        in_channels: ``C`` of the input.
        input_size: ``(H, W)`` of the input, in pixels.
        embedding_dim: ``D`` of an embedding network, which is built on the pooled features.

    Raises:
        ModelError: If timm has no such name, or the architecture does not take an option or the
            input size.
    """
    known = known_name(name)
    arguments: dict[str, Any] = {"name": known, **options}
    if published(known).fixed_input_size:
        arguments.setdefault("img_size", list(input_size))
    arch = ArchSpec(
        family=FAMILY,
        arguments=arguments,
        num_classes=num_classes,
        in_channels=in_channels,
        embedding_dim=embedding_dim,
    )
    with torch.random.fork_rng(devices=[]):  # looking at an architecture draws no random numbers
        _probe(build(arch), arch, input_size)
    return arch


def check(name: str, options: Mapping[str, Any]) -> None:
    """Refuse a name that timm does not have, and options that fit no input.

    Raises:
        ModelError: As :func:`parse`, which looks again when the input is known.
    """
    known = known_name(name)
    if not options:
        return
    arch = ArchSpec(
        family=FAMILY, arguments={"name": known, **options}, num_classes=2, in_channels=3
    )
    try:
        with torch.random.fork_rng(devices=[]):
            build(arch)
    except ModelError as error:
        misspelt = isinstance(error.__cause__, TypeError | None)
        if misspelt or not published(known).fixed_input_size:  # values may need their own size
            raise


def build(arch: ArchSpec, *, pretrained: bool = False) -> nn.Module:
    """A module for ``arch``: normalised float ``(B, C, H, W) -> (B, K)`` logits.

    For an embedding network it has no classifier and answers its pooled features ``(B, F)``.

    Args:
        arch: Of this family.
        pretrained: Start from timm's published weights, which may download them; a classifier of
            another size is replaced by a fresh one.

    Raises:
        ModelError: If the name or an argument is unknown, the architecture does not build, or
            there are no published weights or they cannot be fetched.
    """
    arguments = dict(arch.arguments)
    name = known_name(str(arguments.pop("name", "")))
    if arch.widths is not None:
        raise ModelError(
            f"timm:{name}: inner widths cannot be set; only edgekd's ResNets have them"
        )
    for option in arguments.keys() & _reserved():
        raise ModelError(f"timm:{name}: {option!r} is not an option of the architecture; remove it")
    if pretrained and not published(name).has_weights:
        raise ModelError(f"timm:{name}: has no published weights; train it, or give a weights file")
    import timm

    try:
        module: nn.Module = timm.create_model(
            name,
            pretrained=pretrained,
            num_classes=arch.num_classes if arch.embedding_dim is None else 0,
            in_chans=arch.in_channels,
            **arguments,
        )
    except Exception as error:  # every architecture checks its arguments in its own way
        raise ModelError(_explain(name, arguments, error, pretrained=pretrained)) from error
    return module


def num_features(module: nn.Module) -> int:
    """``F``: width of the pooled features that a module without a classifier answers."""
    # Some networks (MobileNetV3) widen the features once more between pooling and classifier.
    return int(getattr(module, "head_hidden_size", None) or module.num_features)  # type: ignore[arg-type]


def known_name(name: str) -> str:
    """``name`` without its ``timm:`` prefix, if timm's registry has it.

    >>> known_name("timm:resnet18")
    'resnet18'

    Raises:
        ModelError: If it does not; the message names close matches, of edgekd's own networks too
            where there was no prefix.
    """
    bare = name.removeprefix(_PREFIX)
    architecture, _, tag = bare.partition(".")
    import timm

    known = timm.list_models()
    if architecture not in known:
        own = () if name.startswith(_PREFIX) else resnet.NAMES
        names = dict.fromkeys((*own, *known))
        close = difflib.get_close_matches(architecture, names, n=3)
        hint = f"did you mean {', '.join(close)}?" if close else "see timm.list_models()"
        raise ModelError(f"{name!r}: no student and no timm architecture of this name; {hint}")
    if tag and bare not in timm.list_pretrained():
        tags = [n for n in timm.list_pretrained() if n.partition(".")[0] == architecture]
        raise ModelError(f"{name!r}: timm has no weights of this tag; it has {', '.join(tags)}")
    return bare


def published(name: str) -> "PretrainedCfg":
    """The record timm keeps of an architecture and its published weights.

    Raises:
        ModelError: If timm has no such name, or no record of it.
    """
    import timm

    config = timm.get_pretrained_cfg(known_name(name))
    if config is None:
        raise ModelError(f"timm:{name}: timm has no configuration of it; choose another")
    return config


def timm_preprocess(name: str) -> tuple[tuple[float, ...], tuple[float, ...], tuple[int, int]]:
    """What the published weights of an architecture were trained with.

    >>> timm_preprocess("vit_tiny_patch16_224")
    ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5), (224, 224))

    Returns:
        Mean and standard deviation per RGB channel (pixels in [0, 1]) and ``(H, W)``.

    Raises:
        ModelError: If timm has no such name.
    """
    config = published(name)
    _, height, width = config.input_size
    return tuple(config.mean), tuple(config.std), (height, width)


def _probe(module: nn.Module, arch: ArchSpec, input_size: tuple[int, int]) -> None:
    try:
        with torch.no_grad():
            answer = module.eval()(torch.zeros(1, arch.in_channels, *input_size))
    except Exception as error:  # shapes that do not fit fail in as many ways as there are layers
        height, width = input_size
        _, _, usual = timm_preprocess(arch.arguments["name"])
        raise ModelError(
            f"timm:{arch.arguments['name']}: does not take {height}x{width} pixels "
            f"({_first_line(error)}); choose another input size, for example {usual[0]}"
        ) from error
    if arch.embedding_dim is not None and answer.shape != (1, num_features(module)):
        raise ModelError(
            f"timm:{arch.arguments['name']}: answers {tuple(answer.shape)} to one image, an "
            f"embedding needs pooled features (1, {num_features(module)}); remove the option that "
            "changes its output"
        )


def _explain(name: str, arguments: Mapping[str, Any], error: Exception, *, pretrained: bool) -> str:
    reason = _first_line(error)
    if pretrained:
        return (
            f"timm:{name}: the published weights cannot be used ({reason}); check the network, "
            "or fetch the .safetensors file yourself and give it as weights"
        )
    return f"timm:{name}: does not build with {dict(arguments)} ({reason}); change these options"


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


@functools.cache
def _reserved() -> frozenset[str]:
    """What timm takes as an instruction to its factory, not as an argument of the network.

    Those load a file, fetch weights, or return something that is not a classifier.
    """
    import timm

    return frozenset(
        {
            *inspect.signature(timm.create_model).parameters,
            *inspect.signature(timm.models.build_model_with_cfg).parameters,
            *("num_classes", "in_chans", "features_only", "pruned"),
        }
    )
