"""Fine-tuning: first weights from a trained part, and pieces of the network that stay as they are.

A transformer may start from one of another layout. Its positions are interpolated over the grid, and codes that the
trained one does not know are added at the start that the recipe gives them. A model of videos may start from one of
still images, which are videos of one frame. Streams that the trained one lacks start afresh. All else must be equal.

Shapes: P positions of a stream in row-major order, Q codes a position, D width, K codes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pydantic import BaseModel
from torch import Tensor, nn
from torch.nn import functional as F

from visual_echoes.checkpoints.loading import load_model
from visual_echoes.checkpoints.model import PartName
from visual_echoes.errors import EchoesError
from visual_echoes.model.transformer import EchoTransformer
from visual_echoes.model.upgrade import upgraded_name
from visual_echoes.streams import Stream, by_name

# Settings that change no tensor; and those for which tensors are fitted.
_CHOICES = {
    "dropout", "activation_dropout", "encoder_input", "decoder", "mask_fill", "head_norm_eps", "positions",
    "residual", "strides", "griffin_lim_iterations",
}  # fmt: skip


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
        names: of submodules or parameters, such as "encoder", "encoder.0" or "cls_token"; those of older models, too.

    Raises:
        EchoesError: a name that is not there, or nothing left to train.
    """
    parameters = dict(model.named_parameters())
    for name in map(upgraded_name, names) if isinstance(model, EchoTransformer) else names:
        found = [parameter for key, parameter in parameters.items() if f"{key}.".startswith(f"{name}.")]
        if not found:
            known = ", ".join(dict.fromkeys(key.split(".")[0] for key in parameters))
            raise EchoesError(f"freeze names {name!r}, which this network does not have; choose among {known}.")
        for parameter in found:
            parameter.requires_grad_(False)
    if not any(parameter.requires_grad for parameter in parameters.values()):
        raise EchoesError("freeze leaves nothing to train; take a name out of it.")


def interpolate_positions(positions_PD: Tensor, old: tuple[int, ...], new: tuple[int, ...]) -> Tensor:
    """Positions of a grid of one shape, stretched linearly over one of another of the same rank, up to three."""
    if old == new:
        return positions_PD
    grid_1D = positions_PD.mT.unflatten(-1, old)[None]
    mode = ("linear", "bilinear", "trilinear")[len(old) - 1]
    return F.interpolate(grid_1D, new, mode=mode, align_corners=False)[0].flatten(1).mT.contiguous()


def positions_in_time(still_PD: Tensor, fresh_PD: Tensor, old: Stream, new: Stream) -> Tensor:
    """Positions of a stream with a time axis, from those of one without: at every time the still ones, with the time
    component of fresh ones.

    Where the old stream has as many axes, the one that becomes time is averaged away.
    """
    assert new.time is not None
    axis = new.time.axis
    still = still_PD.unflatten(0, old.shape)
    if len(old.shape) == len(new.shape):
        still = still.mean(axis)
    shape = new.shape[:axis] + new.shape[axis + 1 :]
    fitted = interpolate_positions(still.flatten(0, -2), tuple(still.shape[:-1]), shape).unflatten(0, shape)
    fresh = fresh_PD.unflatten(0, new.shape)
    return (fitted.unsqueeze(axis) + fresh - fresh.mean(axis, keepdim=True)).flatten(0, -2)


def _misfits(part: nn.Module, model: nn.Module) -> list[str]:
    assert isinstance(part.config, BaseModel)
    assert isinstance(model.config, BaseModel)
    found = []
    for key, trained in part.config:
        wanted = getattr(model.config, key)
        if key == "streams":
            found += _stream_misfits(trained, wanted)
        elif trained != wanted and key not in _CHOICES:
            found.append(f"{key} is {trained} there and {wanted} here")
    return found


def _stream_misfits(trained: Sequence[Stream], wanted: Sequence[Stream]) -> list[str]:
    """Streams that cannot be fitted: missing here, of another rank or depth, or with codes that would be lost."""
    known = by_name(trained)
    shared = [stream for stream in wanted if stream.name in known]
    if len(shared) < len(trained):
        names = (", ".join(stream.name for stream in streams) for streams in (trained, wanted))
        return ["the streams are {} there and {} here".format(*names)]
    found = []
    for there, here in ((known[stream.name], stream) for stream in shared):
        gains_time = here.time is not None and there.time is None
        ranks = {len(there.shape), len(there.shape) + gains_time}
        if len(here.shape) not in ranks or there.depth != here.depth:
            found.append(f"{there.name} is {there.shape} x {there.depth} there and {here.shape} x {here.depth} here")
        elif there.codes > here.codes:
            found.append(f"{there.name}_codes is {there.codes} there and {here.codes} here")
    return found


def _fit_layout(part: EchoTransformer, model: EchoTransformer) -> dict[str, Tensor]:
    """The trained weights with the grids and codes of `model`."""
    state, start = part.state_dict(), model.state_dict()
    old = by_name(part.config.streams)
    names = [stream.name for stream in part.config.streams]
    for table in ("positions", "decoder_positions"):
        trained = state[f"{table}.modality"]
        state[f"{table}.modality"] = torch.stack(
            [
                trained[names.index(stream.name)] if stream.name in old else fresh_D
                for stream, fresh_D in zip(model.config.streams, start[f"{table}.modality"], strict=True)
            ]
        )
    for stream in model.config.streams:
        if stream.name not in old:
            own = {key: value for key, value in start.items() if stream.name in key.split(".")}
            state.update(own)
            continue
        for table in ("positions", "decoder_positions"):
            key = f"{table}.{stream.name}"
            was = old[stream.name]
            if stream.time is not None and was.time is None:
                state[key] = positions_in_time(state[key], start[key], was, stream)
            else:
                state[key] = interpolate_positions(state[key], was.shape, stream.shape)
        codes = old[stream.name].codes
        rows = f"token_embedding.{stream.name}.weight"
        trained_QKD, fresh_QKD = (table[rows].unflatten(0, (stream.depth, -1)) for table in (state, start))
        # The mask id's row of each level stays its last.
        fitted = torch.cat([trained_QKD[:, :codes], fresh_QKD[:, codes:-1], trained_QKD[:, codes:]], 1)
        state[rows] = fitted.flatten(0, 1)
        for _, level in stream.levels:
            bias = f"heads.{stream.name}.{level}.bias"
            state[bias] = torch.cat([state[bias], start[bias][codes:]])
    if part.config.residual != model.config.residual:
        own = {key: value for key, value in start.items() if key.startswith("depth.")}
        state = {key: value for key, value in state.items() if not key.startswith("depth.")} | own
    return state
