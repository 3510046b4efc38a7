"""Where in a checkpoint the network is: under any keys and prefixes, beside optimizers, losses and other networks.

A network is known by the names of its tensors, so that no list of wrappings is needed. What wraps a module for
compiling or for several devices adds a segment to the names, which is taken out. Where a training kept averaged weights
as well, they are taken: they are what its authors publish and measure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from torch import Tensor

from visual_echoes.errors import EchoesError
from visual_echoes.files import StrPath

Tensors = dict[str, Tensor]

DEEPEST = 4  # mappings inside each other
DROPPED = ("loss.", "colorize")  # the discriminator and the perceptual loss; a colour map for segmentations
_WRAPPERS = frozenset({"_orig_mod", "module", "_fsdp_wrapped_module", "_forward_module"})
# Of each network tensors that it alone has, both of them if there are two.
_MARKS = (
    ("encoder.down.", "decoder.up."), ("ups.", "resblocks."), (r"model.\d+.shortcut.",), ("token_emb.", "mlm_layer."),
)  # fmt: skip
_WITHIN = "vqgan."  # a network of which the one around it is made, as MAGE's transformer is
_AVERAGED = re.compile(r"(^|_)(ema|averag\w*|avg|swa)(_|$)")
_UNNAMED = "shadow_params"  # averages without names, in the order of the network's parameters
_SQUEEZED = "model_ema."  # averages whose names have lost their dots, as latent diffusion's LitEma keeps them


class Chosen(NamedTuple):
    """The tensors of a network, and in a sentence which were taken where there was a choice."""

    tensors: Tensors
    note: str = ""


class _Found(NamedTuple):
    place: str  # keys and prefix
    tensors: Tensors
    averaged: bool


def choose(content: Mapping[Any, Any], source: StrPath) -> Chosen:
    """The network's tensors under its own names; the largest set of tensors where none is known.

    Raises:
        EchoesError: several networks that could be meant.
    """
    mappings = list(_mappings(content, (), DEEPEST, set()))
    places = [(place, _tensors(mapping)) for place, mapping in mappings]
    found = [network for place, tensors in places for network in _networks(place, tensors)]
    averages = next((list(mapping[_UNNAMED]) for _, mapping in mappings if _is_list(mapping.get(_UNNAMED))), None)
    if len(found) == 1 and averages is not None:
        return _with_averages(found[0], averages)
    if not found:
        largest = max((tensors for _, tensors in places), key=len, default={})
        if averages is not None and not largest:
            raise EchoesError(f"{source} holds averaged weights without names alone; save them as a state dict.")
        return Chosen(_kept(largest))
    wanted = [network for network in found if network.averaged] or found
    if len(wanted) > 1:
        names = ", ".join(network.place or "the top" for network in wanted)
        raise EchoesError(
            f"{source} holds several networks ({names}); save the one that is meant in a file of its own."
        )
    others = [network.place or "the top" for network in found if network is not wanted[0]]
    note = f"The averaged weights were taken ({wanted[0].place}), not those of {', '.join(others)}." if others else ""
    return Chosen(wanted[0].tensors, note)


def _mappings(
    content: Mapping[Any, Any], keys: tuple[str, ...], depth: int, seen: set[int]
) -> Iterator[tuple[str, Mapping[Any, Any]]]:
    """Every mapping once, with the keys that lead to it."""
    if id(content) in seen:
        return
    seen.add(id(content))
    yield ".".join(keys), content
    for key, value in content.items():
        if isinstance(value, Mapping) and depth > 1:
            yield from _mappings(value, (*keys, str(key)), depth - 1, seen)


def _tensors(mapping: Mapping[Any, Any]) -> Tensors:
    """The tensors that stand in a mapping itself, without what wrappers add to their names."""
    named = {str(name): value.detach() for name, value in mapping.items() if isinstance(value, Tensor)}
    return {".".join(part for part in name.split(".") if part not in _WRAPPERS): named[name] for name in named}


def _is_list(value: object) -> bool:
    return isinstance(value, Sequence) and bool(value) and all(isinstance(one, Tensor) for one in value)


def _networks(place: str, tensors: Tensors) -> Iterator[_Found]:
    """The known networks among named tensors, each under its own names."""
    prefixes = sorted(_prefixes(tensors))
    parts = {prefix + _WITHIN for prefix in prefixes} & set(prefixes)
    for prefix in (prefix for prefix in prefixes if prefix not in parts):
        inner = tuple(
            other for other in prefixes if other != prefix and other.startswith(prefix) and other not in parts
        )
        squeezed = prefix + _SQUEEZED
        own = {
            name.removeprefix(prefix): value
            for name, value in tensors.items()
            if name.startswith(prefix) and not name.startswith((*inner, squeezed))
        }
        where = ".".join(filter(None, (place, prefix.rstrip("."))))
        network = _Found(where, _kept(own), _is_averaged(where))
        yield network
        averages = {name: tensors.get(squeezed + name.replace(".", "")) for name in network.tensors}
        if all(value is not None for value in averages.values()):
            named = {name: value for name, value in averages.items() if value is not None}
            yield _Found(".".join(filter(None, (where, _SQUEEZED.rstrip(".")))), named, True)


def _prefixes(tensors: Tensors) -> set[str]:
    """What stands before the names of a known network."""
    found: set[str] = set()
    for marks in _MARKS:
        before = []
        for mark in marks:
            pattern = re.compile(r"((?:[^.]+\.)*?)" + mark.replace(".", r"\."))
            before.append({match[1] for name in tensors if (match := pattern.match(name))})
        found |= set.intersection(*before)
    return found


def _is_averaged(place: str) -> bool:
    parts = place.split(".")
    return any(_AVERAGED.search(part) for part in parts) and "online_model" not in parts


def _kept(tensors: Tensors) -> Tensors:
    return {name: value for name, value in tensors.items() if not name.startswith(DROPPED)}


def _with_averages(network: _Found, averages: Sequence[Tensor]) -> Chosen:
    """A network with averages that have its shapes in its order, or itself where they are of something else."""
    if [value.shape for value in averages] == [value.shape for value in network.tensors.values()]:
        tensors = dict(zip(network.tensors, (value.detach() for value in averages), strict=True))
        return Chosen(tensors, f"The averaged weights were taken ({_UNNAMED}).")
    return Chosen(
        network.tensors, f"The averaged weights ({_UNNAMED}) have no names and do not fit; others were taken."
    )
