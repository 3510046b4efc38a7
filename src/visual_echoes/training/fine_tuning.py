"""Fine-tuning: first weights from a trained part, and pieces of the network that stay as they are.

A transformer may start from one of another layout. Its positions are interpolated over the grid, and codes that the
trained one does not know are added at the start that the recipe gives them. All else must be equal.

Shapes: L places of one modality in row-major order, D width, K codes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pydantic import BaseModel
from torch import Tensor, nn
from torch.nn import functional as F

from visual_echoes.errors import EchoesError
from visual_echoes.transformer import MODALITIES, EchoTransformer
from visual_echoes.weights import PartName, load_model

# Settings that change no tensor; and those for which tensors are fitted.
_CHOICES = {
    "dropout", "activation_dropout", "encoder_input", "decoder", "pad", "head_norm_eps", "strides",
    "griffin_lim_iterations",
}  # fmt: skip
_GRIDS = {f"{modality}_grid" for modality in MODALITIES}
_CODES = {f"{modality}_codes" for modality in MODALITIES}


def start_from(model: nn.Module, source: str, name: PartName) -> None:
    """Take the first weights of `model` from a trained part.

    Args:
        model: the untrained network; changed in place.
        source: a model folder, a packaged model or a hub repository.
        name: which of its parts.

    Raises:
        EchoesError: there is no such part, it is another network, or it has other sizes; every misfit is named.
    """
    loaded = load_model(source, wanted=[name])
    part = loaded.parts[name]
    if type(part) is not type(model):
        raise EchoesError(
            f"The {name} of {source} is another network ({loaded.kinds[name]}) than the recipe's; start from one of "
            "the same kind, or leave out start_from."
        )
    misfits = _misfits(part, model)
    if misfits:
        raise EchoesError(
            f"The {name} of {source} does not fit the recipe: {', '.join(misfits)}; make them equal, or leave out "
            "start_from."
        )
    state = part.state_dict()
    if isinstance(part, EchoTransformer) and isinstance(model, EchoTransformer):
        state = _fit_layout(part, model)
    model.load_state_dict(state)


def freeze(model: nn.Module, names: Sequence[str]) -> None:
    """Keep pieces of a network as they are: they get no gradient, no optimiser state and no weight decay.

    Args:
        model: changed in place.
        names: of submodules or parameters, such as "encoder", "encoder.0" or "class_slot".

    Raises:
        EchoesError: a name that is not there, or nothing left to train.
    """
    parameters = dict(model.named_parameters())
    for name in names:
        found = [parameter for key, parameter in parameters.items() if f"{key}.".startswith(f"{name}.")]
        if not found:
            known = ", ".join(dict.fromkeys(key.split(".")[0] for key in parameters))
            raise EchoesError(f"freeze names {name!r}, which this network does not have; choose among {known}.")
        for parameter in found:
            parameter.requires_grad_(False)
    if not any(parameter.requires_grad for parameter in parameters.values()):
        raise EchoesError("freeze leaves nothing to train; take a name out of it.")


def interpolate_positions(positions_LD: Tensor, old: tuple[int, int], new: tuple[int, int]) -> Tensor:
    """Positions of a grid of `old` rows and columns, stretched bilinearly over one of `new`."""
    if old == new:
        return positions_LD
    grid_1Dhw = positions_LD.mT.unflatten(-1, old)[None]
    return F.interpolate(grid_1Dhw, new, mode="bilinear", align_corners=False)[0].flatten(1).mT.contiguous()


def _misfits(part: nn.Module, model: nn.Module) -> list[str]:
    assert isinstance(part.config, BaseModel)
    assert isinstance(model.config, BaseModel)
    found = []
    for key, trained in part.config:
        wanted = getattr(model.config, key)
        fitted = key in _CHOICES | _GRIDS or (key in _CODES and trained <= wanted)
        if trained != wanted and not fitted:
            found.append(f"{key} is {trained} there and {wanted} here")
    return found


def _fit_layout(part: EchoTransformer, model: EchoTransformer) -> dict[str, Tensor]:
    """The trained weights with the grids and codes of `model`."""
    state, start = part.state_dict(), model.state_dict()
    for modality in MODALITIES:
        for table in ("places_embedding", "decoder_positions"):
            key = f"{table}.{modality}"
            state[key] = interpolate_positions(state[key], part.config.grid(modality), model.config.grid(modality))
        codes = part.config.codes(modality)
        rows, bias = f"embeddings.{modality}.weight", f"heads.{modality}.bias"
        # The mask id's row stays the last.
        state[rows] = torch.cat([state[rows][:codes], start[rows][codes:-1], state[rows][codes:]])
        state[bias] = torch.cat([state[bias], start[bias][codes:]])
    return state
