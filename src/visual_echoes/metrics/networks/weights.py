"""Where the published weights are, and whether a file holds them.

Full SHA-256 are of the published files. Where only a file's name carries the first digits, as the convention of torch's
hub has it, these are checked. Where there is neither, the report names the file's own SHA-256 and says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from visual_echoes.checkpoints.convert.reading import read_tensors
from visual_echoes.checkpoints.convert.sizes import fit
from visual_echoes.errors import EchoesError, first_line
from visual_echoes.files import file_digest

HUB = "hub:"
HUB_PARTS = 3  # owner, repository, file
SHA256_DIGITS = 64
Network = TypeVar("Network", bound=nn.Module)


class Published(NamedTuple):
    """A published file of weights.

    Attributes:
        title: the network.
        file: the file's name.
        address: where it is published; `HUB` and owner/repository/file if it is fetched when no file is named.
        sha256: its SHA-256 or the first digits of it; empty if none is known.
        others: SHA-256 of other files of the same publisher that the network can be built from, by their names.
    """

    title: str
    file: str
    address: str
    sha256: str
    others: Mapping[str, str] = MappingProxyType({})


PUBLISHED: dict[str, Published] = {
    "panns": Published(
        "PANNs CNN14", "Cnn14_16k_mAP=0.438.pth", "https://zenodo.org/records/3987831",
        "e2ee543a27919542c2ea03eabaa70b24dcd4e6c8e05621de6b67a94e4c5058e6",
        {"Cnn14_mAP=0.431.pth": "0dc499e40e9761ef5ea061ffc77697697f277f6a960894903df3ada000e34b31"},
    ),
    "vggish": Published(
        "VGGish", "vggish-10086976.pth", "https://github.com/harritaylor/torchvggish/releases/tag/v0.1", "10086976"
    ),
    "wav2clip": Published(
        "Wav2CLIP", "Wav2CLIP.pt", "https://github.com/descriptinc/lyrebird-wav2clip/releases/tag/v0.1.0-alpha", ""
    ),
    "clip": Published(
        "CLIP ViT-B/32", "pytorch_model.bin", HUB + "openai/clip-vit-base-patch32/pytorch_model.bin",
        "a63082132ba4f97a80bea76823f544493bffa8082296d62d71581a4feff1576f",
    ),
    "inception": Published(
        "Inception v3 of FID", "pt_inception-2015-12-05-6726825d.pth",
        "https://github.com/mseitzer/pytorch-fid/releases/tag/fid_weights",
        "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
    ),
    "lpips": Published(
        "AlexNet of LPIPS", "alexnet-owt-7be5be79.pth", "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
        "7be5be79",
    ),
    "synchformer": Published(
        "Synchformer", "synchformer_state_dict.pth",
        HUB + "hkchengrex/MMAudio/ext_weights/synchformer_state_dict.pth",
        "8aff082f2df5c3bc52759db0c865c7ee772ae6400b860d1b7e90413f2defb67c",
    ),
}  # fmt: skip

# Published files whose tensors are those of a known network, though they belong to another one.
MISTAKEN = {
    "dd3b4043a87d4ec13df8082c0fcfee3fb5084151808e47e060987a95eabdd142": "Cnn14_DecisionLevelMax, which is no CNN14"
}

# Names that stand in published checkpoints beside the weights (the state of a sampler of PANNs' training). Nothing that
# is kept depends on them, so that they are replaced by something inert instead of being run.
BESIDE_WEIGHTS = (
    "numpy.core.multiarray._reconstruct", "numpy.core.multiarray.scalar", "numpy._core.multiarray._reconstruct",
    "numpy._core.multiarray.scalar", "numpy.ndarray", "numpy.dtype",
)  # fmt: skip
COUNTS = "num_batches_tracked"  # of batch normalisation; no answer depends on it


class Weights(NamedTuple):
    """A file of weights, its SHA-256, and what that was checked against."""

    path: Path
    sha256: str
    pin: str


class _Inert:
    """Accepts everything, does nothing."""

    def __init__(self, *_: object) -> None:
        pass

    def __setstate__(self, _: object) -> None:
        pass


def find_weights(name: str, source: str | None, sha256: str | None) -> Weights:
    """The file of a published network, checked.

    Args:
        name: in `PUBLISHED`.
        source: a file, `HUB` with owner/repository/file, or None for the address where that is of the hub.
        sha256: what the user says it must be, instead of the published one; for weights of another training.

    Raises:
        EchoesError: no file was named or can be fetched, it has another hash, or it is known to be something else.
    """
    known = PUBLISHED[name]
    if source is None and not known.address.startswith(HUB):
        raise EchoesError(
            f"The backbone {name} needs its weights: get {known.file} from {known.address} and add --backbone "
            f"{name}=FILE."
        )
    source = source or known.address
    path = _fetch(source) if source.startswith(HUB) else Path(source)
    if not path.is_file():
        raise EchoesError(f"There is no file {path} of {known.title}; get {known.file} from {known.address}.")
    found = file_digest(path)
    if found in MISTAKEN:
        raise EchoesError(f"{path} is {MISTAKEN[found]}; get {known.file} from {known.address}.")
    accepted = (sha256.lower(),) if sha256 else (known.sha256, *known.others.values())
    wanted = next((digits for digits in accepted if found.startswith(digits)), None)
    if wanted is None:
        whose = "given" if sha256 else "published"
        raise EchoesError(
            f"{path} is not the {whose} {known.title}: its SHA-256 begins with {found[:12]}, not {accepted[0][:12]}; "
            f"get {known.file} from {known.address}, or accept another training with --sha256 {name}={found[:12]}."
        )
    return Weights(path, found, _pin(wanted, given=bool(sha256)))


def _pin(wanted: str, given: bool) -> str:
    if not wanted:
        return "not pinned: no SHA-256 is published, this is the file's own"
    digits = "" if len(wanted) == SHA256_DIGITS else f", first {len(wanted)} digits"
    return f"{'the SHA-256 given' if given else 'the published SHA-256'} checked{digits}"


def _fetch(source: str) -> Path:
    parts = source.removeprefix(HUB).split("/", HUB_PARTS - 1)
    if len(parts) < HUB_PARTS or not all(parts):
        raise EchoesError(f"{source!r} names no file of the hub; write {HUB}OWNER/REPOSITORY/FILE.")
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download("/".join(parts[:2]), parts[2]))
    except Exception as error:  # the hub's client raises many kinds; all mean the same to the user
        raise EchoesError(
            f"{source} could not be fetched ({first_line(error)}); check the connection, or name a file of it after "
            "the backbone."
        ) from error


def load_published(
    build: Callable[[], Network],
    weights: Path,
    what: str,
    own_names: Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]] = dict,
) -> Network:
    """The network with the weights of a file, frozen and in eval mode.

    Args:
        own_names: picks the network's tensors from the file's and gives them the network's names.

    Raises:
        EchoesError: a damaged file, one that refers to code, or one of another network.
    """
    return fit(build, own_names(read_published(weights)), weights, what).requires_grad_(False)


def read_published(weights: Path) -> dict[str, Tensor]:
    """The tensors of a published file, under the names they have there; `EchoesError` as `load_published`."""
    with _harmless():
        tensors = read_tensors(weights)
    return {name: value for name, value in tensors.items() if not name.endswith(COUNTS)}


def _harmless() -> AbstractContextManager[object]:
    return torch.serialization.safe_globals([(_Inert, name) for name in BESIDE_WEIGHTS])


def with_random_weights(network: Network) -> Network:
    """A network of the true shape in eval mode, where no published weights are needed: to try what feeds it.

    The weights keep the size of activations through ReLUs; no figure of it means anything.
    """
    for value in network.parameters():
        if value.dim() > 1:
            nn.init.kaiming_normal_(value, nonlinearity="relu")
    return network.eval()
