"""Packed batches lose nothing, mix nothing up and hold no padding."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

import tiny
from visual_echoes.model.packing import ROWS, Packing

SHAPES = st.tuples(st.integers(1, 6), st.integers(1, 9), st.floats(0, 1), st.integers(0, 99))


def kept_places(shape: tuple[int, int, float, int]) -> torch.Tensor:
    batch, length, share, seed = shape
    return torch.rand(batch, length, generator=tiny.generator(seed)) < share


@given(SHAPES)
def test_kept_places_come_back_and_all_others_are_zero(shape: tuple[int, int, float, int]) -> None:
    kept_BS = kept_places(shape)
    x_BSD = torch.arange(1, kept_BS.numel() * 3 + 1, dtype=torch.float32).view(*kept_BS.shape, 3)
    packing = Packing(kept_BS)
    x_ND = packing.pack(x_BSD)
    assert len(x_ND) == int(kept_BS.sum())  # no padding
    assert torch.equal(packing.unpack(x_ND), x_BSD * kept_BS[..., None])


@given(SHAPES)
def test_a_run_holds_the_kept_places_of_its_samples_in_order(shape: tuple[int, int, float, int]) -> None:
    kept_BS = kept_places(shape)
    x_BS = torch.arange(kept_BS.numel()).view(kept_BS.shape)
    packing = Packing(kept_BS)
    runs = packing.split(packing.pack(x_BS))
    found = [row.tolist() for run_RP in runs for row in run_RP]
    assert sorted(found) == sorted(x_BS[row][kept_BS[row]].tolist() for row in range(len(kept_BS)))
    assert [tuple(run_RP.shape) for run_RP in runs] == [tuple(run) for run in packing.runs]
    lengths = [run.length for run in packing.runs]
    assert lengths == sorted(set(lengths))


def test_a_whole_batch_is_not_copied() -> None:
    x_BSD = torch.randn(3, 4, 2)
    packing = Packing(torch.ones(3, 4, dtype=torch.bool))
    assert packing.pack(x_BSD).data_ptr() == x_BSD.data_ptr()
    assert torch.equal(packing.unpack(packing.pack(x_BSD)), x_BSD)


@given(SHAPES, st.integers(0, 99))
def test_two_choices_have_runs_of_the_same_samples(shape: tuple[int, int, float, int], seed: int) -> None:
    first_BS, second_BS = kept_places(shape), kept_places((*shape[:2], 0.5, seed))
    row_BS = torch.arange(len(first_BS))[:, None].expand_as(first_BS)
    first, second = Packing.pair(first_BS, second_BS)
    assert len(first.runs) == len(second.runs)
    for own, others in zip(first.split(first.pack(row_BS)), second.split(second.pack(row_BS)), strict=True):
        assert len(own) == len(others)
        for one, other in zip(own, others, strict=True):
            assert len(set(one.tolist()) | set(other.tolist())) <= 1
    assert torch.equal(second.unpack(second.pack(row_BS)), row_BS * second_BS)


@given(SHAPES, st.booleans())
def test_spare_rows_change_nothing(shape: tuple[int, int, float, int], autocast: bool) -> None:
    kept_BS = kept_places(shape)
    x_BSD = torch.arange(1, kept_BS.numel() * 3 + 1, dtype=torch.float32).view(*kept_BS.shape, 3)
    packing = Packing(kept_BS)
    exact_ND = packing.pack(x_BSD)
    # Where every number of rows would be compiled for.
    x_BSD = x_BSD if autocast else x_BSD.bfloat16()
    with torch.autocast("cpu", enabled=autocast):
        x_ND = packing.pack(x_BSD)
        runs = packing.split(x_ND)
        assert bool(kept_BS.all()) or len(x_ND) % ROWS == 0
        assert torch.equal(packing.unpack(x_ND), x_BSD * kept_BS[..., None])
        assert all(map(torch.equal, runs, packing.split(exact_ND.to(x_BSD))))
        assert torch.equal(packing.join(runs)[: packing.tokens], exact_ND.to(x_BSD))
        assert packing.join(runs).shape == x_ND.shape


@given(SHAPES)
def test_padded_samples_hold_the_packed_places_in_order(shape: tuple[int, int, float, int]) -> None:
    kept_BS = kept_places(shape)
    packing = Packing(kept_BS)
    x_ND = packing.pack(torch.arange(1.0, kept_BS.numel() * 2 + 1).view(*kept_BS.shape, 2))
    x_BPD = packing.padded.pad(x_ND)
    assert packing.padded.real_BP.sum(1).tolist() == sorted(kept_BS.sum(1).tolist())
    assert torch.equal(x_BPD.bool().all(-1), packing.padded.real_BP)
    assert torch.equal(packing.padded.unpad(x_BPD), x_ND)
