"""An ONNX file as a teacher: computed on the CPU by ONNX Runtime."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch
from numpy.typing import NDArray
from torch import Tensor

from edgekd.bundle import read_record, sha256_of
from edgekd.errors import BundleError, MissingExtraError, ModelError
from edgekd.records import ExportedModel, TeacherRef
from edgekd.runtimes.encoding import TensorInfo, layout_of
from edgekd.teachers.encode import ViewEncoder
from edgekd.teachers.file import FileTeacher, Network, input_encoder
from edgekd.teachers.request import TeacherRequest

if TYPE_CHECKING:
    from edgekd.runtimes.onnx_runtime import OnnxSession

_DTYPES: Final = ("float32", "float16", "uint8")


def matches(request: TeacherRequest) -> bool:
    """Whether the source is an ``.onnx`` file."""
    return request.path.suffix == ".onnx" and request.path.is_file()


def open_source(request: TeacherRequest) -> FileTeacher:
    """The file, with its record's preprocessing and labels where edgekd wrote one beside it.

    Raises:
        BundleError: If the file cannot be loaded, or is not the one its record describes.
        ModelError: If it takes anything but one image tensor, does not run on images of the data's
            size, or its labels are not the data's.
        MissingExtraError: If ONNX Runtime is not installed.
    """
    path = request.path
    sha256 = sha256_of(path)
    record = _record(path, sha256)
    session = _open(path)
    info = _only_input(session, path)
    encoder, channels_last = _encoder(info, record, request)

    def run(x: Tensor) -> Tensor:
        array = (x.permute(0, 2, 3, 1) if channels_last else x).contiguous().numpy()
        if info.dtype == "uint8":
            array = array.round().clip(0, 255)
        feeds = {info.name: array.astype(info.dtype, copy=False)}
        return torch.from_numpy(session.decode(_invoke(session, feeds, path)))

    network = Network(run=run, encoder=encoder, batch_size=info.shape[0])
    ref = TeacherRef(
        source=request.source,
        kind="onnx",
        sha256=sha256,
        num_params=record.num_params if record is not None else None,
        macs=record.macs if record is not None else None,
    )
    return FileTeacher(network, ref=ref, request=request)


def _open(path: Path) -> "OnnxSession":
    try:
        from edgekd.runtimes import onnx_runtime
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            "onnxruntime", extra="bench", purpose="run an ONNX teacher"
        ) from error
    return onnx_runtime.open_session(path, num_threads=torch.get_num_threads())


def _invoke(
    session: "OnnxSession", feeds: dict[str, NDArray[Any]], path: Path
) -> list[NDArray[Any]]:
    """One inference of a file that may be anybody's: it can load and still not run."""
    try:
        return session.invoke(feeds)
    except Exception as error:  # ONNX Runtime's own errors share no base but this
        (array,) = feeds.values()
        raise ModelError(
            f"teacher {path}: ONNX Runtime does not run it on a batch of {array.shape} "
            f"({' '.join(str(error).split())[:300]}); export it for this input size, with a "
            "dynamic or any fixed batch"
        ) from error


def _record(path: Path, sha256: str) -> ExportedModel | None:
    beside = path.with_name(f"{path.name}.json")
    if not beside.exists():
        return None
    record = read_record(ExportedModel, beside)
    if record.sha256 != sha256:
        raise BundleError(
            f"{path}: not the file that {beside.name} describes (its sha256 differs); "
            "export it again, or remove the record to use the file without it"
        )
    return record


def _only_input(session: "OnnxSession", path: Path) -> TensorInfo:
    if len(session.inputs) != 1 or len(session.outputs) != 1:
        raise ModelError(
            f"teacher {path}: has {len(session.inputs)} inputs and {len(session.outputs)} outputs; "
            "expected one image and its logits"
        )
    (info,) = session.inputs
    if layout_of(info.shape) is None or info.dtype not in _DTYPES:
        raise ModelError(
            f"teacher {path}: its input is {info.dtype} {info.shape}; expected a batch of images, "
            f"(B, C, H, W) or (B, H, W, C) with 1 or 3 channels, of {', '.join(_DTYPES)}"
        )
    return info


def _encoder(
    info: TensorInfo, record: ExportedModel | None, request: TeacherRequest
) -> tuple[ViewEncoder, bool]:
    """What the input is, and whether its channels come last."""
    channels_last = layout_of(info.shape) == "NHWC"
    channels = info.shape[3] if channels_last else info.shape[1]
    height, width = info.shape[1:3] if channels_last else info.shape[2:4]
    size = None if height is None or width is None else (height, width)
    if channels is None:  # layout_of told the layout by the channels
        raise ValueError(f"{info.shape} has a layout but no channels")
    if record is not None:
        request.refuse_options()
        request.check_labels(record.labels)
        encoder = ViewEncoder.of(record.preprocess.image)
    else:
        encoder = input_encoder(request, channels=channels, size=size)
    if info.dtype == "uint8":  # raw pixels; the normalisation is inside the graph
        encoder = ViewEncoder(
            channels=channels, size=encoder.size, mean=(0.0,) * channels, std=(1 / 255,) * channels
        )
    return encoder, channels_last
