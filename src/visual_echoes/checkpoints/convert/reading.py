"""Foreign checkpoint files to plain tensors by name: safetensors, and pickles whose code is never run.

torch's restricted unpickler (`weights_only=True`) builds tensors and plain containers only. Training frameworks leave
names of their own classes in a checkpoint beside the weights; those are replaced by an inert stand-in. Any other name
is refused. A divided checkpoint is `NAME-00001-of-00003.safetensors` and its like, perhaps with an index beside them.
"""

from __future__ import annotations

import json
import re
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from visual_echoes.checkpoints.convert.contents import Chosen, choose
from visual_echoes.errors import EchoesError, first_line
from visual_echoes.files import StrPath, read_limited

MAX_CHECKPOINT_BYTES = 4 << 30
INDEX_SUFFIX = ".index.json"
MAX_INDEX_BYTES = 64 << 20
MAX_SHARDS = 1000
_SHARD = re.compile(r"(?P<start>.*[-_.])(?P<number>\d{2,6})(?P<of>-of-)(?P<total>\d{2,6})(?P<end>\.\w+)?")
_SHOWN_FILES = 3
# Packages whose objects stand in checkpoints beside the weights and may be left out.
BOOKKEEPING = ("pytorch_lightning.", "lightning.", "lightning_fabric.", "omegaconf.", "numpy.", "argparse.", "pathlib.")

_ZIP, _PICKLE = b"PK\x03\x04", b"\x80"
_ADVICE = "get the file again from its publisher"


class _StandIn:
    """Takes the place of an object that is not needed; accepts everything, does nothing."""

    def __init__(self, *_: object) -> None:
        pass

    def __setstate__(self, _: object) -> None:
        pass


def read_tensors(source: StrPath) -> dict[str, Tensor]:
    """The network's tensors of a checkpoint; see `read_checkpoint`."""
    return read_checkpoint(source).tensors


def read_checkpoint(source: StrPath) -> Chosen:
    """The network's tensors of a checkpoint, in float32 or as they are stored, without losses and optimizers.

    Args:
        source: the file; of a divided checkpoint one of the files, or their index.

    Raises:
        EchoesError: a file is missing, too large, damaged, refers to code, or holds no tensors or several networks.
    """
    path = Path(source)
    files = checkpoint_files(path)
    size = sum(map(_check_size, files))
    if size > MAX_CHECKPOINT_BYTES:
        raise EchoesError(
            f"{path} and the files that belong to it have more than {MAX_CHECKPOINT_BYTES} bytes together."
        )
    chosen = choose(_read_all(files), path)
    if not chosen.tensors:
        raise EchoesError(f"{path} holds no tensors of a network; give the checkpoint of a tokenizer or a vocoder.")
    if sum(value.numel() * value.element_size() for value in chosen.tensors.values()) > size:
        raise EchoesError(f"{path} claims larger tensors than it holds; {_ADVICE}.")
    return chosen


def _read_all(files: Sequence[Path]) -> Mapping[Any, Any]:
    """The content of the files together."""
    if len(files) == 1:
        return _read(files[0])
    content: dict[Any, Any] = {}
    for path in files:
        part = _read(path)
        if twice := content.keys() & part.keys():
            raise EchoesError(
                f"{path} holds {min(map(str, twice))} of another of its checkpoint's files again; {_ADVICE}."
            )
        content |= part
    return content


def _check_size(path: Path) -> int:
    if not path.is_file():
        raise EchoesError(f"There is no checkpoint file {path}; check the path.")
    size = path.stat().st_size
    if size > MAX_CHECKPOINT_BYTES:
        raise EchoesError(f"{path} is larger than {MAX_CHECKPOINT_BYTES} bytes; no checkpoint that is read here is.")
    return size


def _read(path: Path) -> Mapping[Any, Any]:
    try:
        with open(path, "rb") as file:
            head = file.read(9)
    except OSError as error:
        raise EchoesError(f"{path} cannot be read ({error.strerror}); check its permissions.") from error
    if head[8:9] == b"{":
        return _read_safetensors(path)
    if head.startswith(_ZIP):
        content = _read_zip(path)
    elif head.startswith(_PICKLE):
        content = _unpickle(path, [])
    else:
        raise EchoesError(f"{path} is no checkpoint: neither safetensors nor what torch saves; give the weights' file.")
    if not isinstance(content, Mapping):
        raise EchoesError(f"{path} holds a {type(content).__name__} instead of named tensors; give a state dict.")
    return content


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise EchoesError(f"{path} is a damaged safetensors file ({error}); {_ADVICE}.") from error


def _read_zip(path: Path) -> Any:
    try:
        with zipfile.ZipFile(path) as archive:
            packed = any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist())
        names = [] if packed else torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except Exception as error:  # hostile bytes fail in many ways, all with the same meaning
        raise _unreadable(path, error) from error
    if packed:  # torch never packs weights, and what is packed may unpack to a lot
        raise EchoesError(f"{path} is a packed archive or a TorchScript program, not a checkpoint; give the weights.")
    code = sorted(name for name in names if not name.startswith(BOOKKEEPING))
    if code:
        raise _refers_to_code(path, ", ".join(code))
    return _unpickle(path, names, mapped=True)


def _unpickle(path: Path, stand_ins: list[str], mapped: bool = False) -> Any:
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals([(_StandIn, name) for name in stand_ins]):
            warnings.simplefilter("ignore")  # about forms of pickle; what cannot be read fails
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except Exception as error:  # as above
        raise _unreadable(path, error) from error


def _refers_to_code(path: Path, names: str) -> EchoesError:
    return EchoesError(
        f"{path} refers to code ({names}), which weights do not need; it was not run, and the file is refused."
    )


def _unreadable(path: Path, error: Exception) -> EchoesError:
    """What is wrong, in place of torch's advice to load the file unsafely."""
    if name := re.search(r"GLOBAL ([\w.]+)", str(error)):
        return _refers_to_code(path, name[1])
    if "Unsupported operand" in str(error):
        return EchoesError(
            f"{path} is in a form of pickle that cannot be read safely; save it again with torch's own defaults, or as "
            "safetensors."
        )
    return EchoesError(f"{path} is cut short or damaged ({first_line(error)}); {_ADVICE}.")


def checkpoint_files(path: Path) -> list[Path]:
    """All files of the checkpoint that `path` is, or is a part or the index of.

    Raises:
        EchoesError: a part is not there, or the index cannot be read.
    """
    if path.name.endswith(INDEX_SUFFIX):
        names = _indexed(path)
    elif shard := _SHARD.fullmatch(path.name):
        total, digits = int(shard["total"]), len(shard["number"])
        if not 0 < int(shard["number"]) <= total <= MAX_SHARDS:
            return [path]
        end = f"{shard['of']}{shard['total']}{shard['end'] or ''}"
        names = [f"{shard['start']}{number:0{digits}d}{end}" for number in range(1, total + 1)]
    else:
        return [path]
    _check_there(path, names)
    return [path.with_name(name) for name in names]


def _indexed(path: Path) -> list[str]:
    """The files that an index names."""
    try:
        names = sorted({str(name) for name in json.loads(read_limited(path, MAX_INDEX_BYTES))["weight_map"].values()})
        if not 0 < len(names) <= MAX_SHARDS or any(Path(name).name != name for name in names):
            raise ValueError("it names no files beside it")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise EchoesError(
            f"{path} is no index of a checkpoint ({first_line(error)}); give one of the checkpoint's files."
        ) from error
    return names


def _check_there(path: Path, names: list[str]) -> None:
    missing = [name for name in names if not path.with_name(name).is_file()]
    if missing:
        more = f" and {len(missing) - _SHOWN_FILES} more" if len(missing) > _SHOWN_FILES else ""
        raise EchoesError(
            f"{path} belongs to a checkpoint of {len(names)} files, of which {', '.join(missing[:_SHOWN_FILES])}{more} "
            f"{'are' if len(missing) > 1 else 'is'} missing; put all of them into one folder."
        )
