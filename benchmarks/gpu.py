"""What a GPU gives: the processor's tokens, runs that repeat, bfloat16 beside float32, and speed at the paper's shape.

Golden tokens are those that processors draw in float64. The rest is trained on tokens made for the purpose: each group
has a pattern of its own, of which a share of the tokens is noise. Usage, with `src` and `tests` on the path:

    python benchmarks/gpu.py [--batch 64] [--compile] [-o FILE]
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from measuring import add_output, of_records, show
from paper_kinds import KINDS, LAYOUT, config_of

from golden_tokens import TASKS, draw, stored
from visual_echoes.checkpoints.run_folder import CHECKPOINTS
from visual_echoes.data.tokens import TokenCache
from visual_echoes.evaluation.measurement import Cell, Table
from visual_echoes.layout import get_layout
from visual_echoes.model.blocks import Block
from visual_echoes.model.config import TransformerConfig
from visual_echoes.model.fast import FastBlock, FastTransformer
from visual_echoes.model.settings import SamplingSettings, with_changes
from visual_echoes.pipeline import VisualEchoes
from visual_echoes.streams import Stream
from visual_echoes.studies.speed import Sampling, operations
from visual_echoes.training.loop import fit, stepper
from visual_echoes.training.settings import TrainSettings
from visual_echoes.training.transformer import MaskingObjective, TransformerTask

ITEMS, GROUPS, NOISE = 4096, 16, 0.3
LEARNT = 200  # steps of the comparison of precisions
TIMED, WARM = 10, 3  # steps
SIDE, PRODUCTS = 8192, 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--compile", action="store_true", help="also with each block's dense layers compiled")
    add_output(parser)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        again = goes_on_to_the_bit(Path(folder))
    checks = Table(
        columns=("checked on the GPU", "found"),
        rows=(("golden tokens equal to the processor's", golden()), ("a run taken up again, equal to the bit", again)),
    )
    tables = {"checks": checks, "losses": losses(), "steps": steps(arguments.batch, arguments.compile)}
    show({**tables, "sampling": sampling(), "card": card()}, arguments.output)


def golden() -> str:
    """How many of the golden tokens are drawn here."""
    echoes = VisualEchoes.from_pretrained("digits", device="cuda", precision="float32")
    found, same, of = stored("digits"), 0, 0
    given = {name: found[f"given/{name}"].cuda() for name in ("image", "audio")}
    for task in TASKS:
        for name, tokens in draw(echoes, given, task).items():
            same += int((tokens.cpu() == found[f"{task}/{name}"]).sum())
            of += tokens.numel()
    return f"{same:,} of {of:,}"


def patterned(streams: tuple[Stream, ...]) -> TokenCache:
    """Tokens from which something can be learnt."""
    noise = torch.Generator().manual_seed(0)
    group_N = torch.arange(ITEMS) % GROUPS
    tokens: dict[str, dict[str, torch.Tensor]] = {}
    groups: dict[str, torch.Tensor] = {}
    for stream in streams:
        shape = (stream.positions, stream.depth)
        pattern_GPQ = torch.randint(stream.codes, (GROUPS, *shape), generator=noise)
        other_NPQ = torch.randint(stream.codes, (ITEMS, *shape), generator=noise)
        noisy_NPQ = torch.rand(other_NPQ.shape, generator=noise) < NOISE
        tokens.setdefault(stream.source, {})[stream.name] = torch.where(noisy_NPQ, other_NPQ, pattern_GPQ[group_N])
        groups[stream.source] = group_N
    return TokenCache(tokens, groups)


def small_task() -> TransformerTask:
    """Of layout `scenes`, visible and cross, codes by depth."""
    torch.manual_seed(0)
    layout = get_layout("scenes")
    config = TransformerConfig.for_layout(
        layout, width=256, heads=8, encoder_layers=4, decoder_layers=2, dropout=0.0, encoder_input="visible",
        decoder="cross", residual="depth",
    )  # fmt: skip
    tokens = patterned(layout.streams)
    return TransformerTask(config, MaskingObjective(average="modalities", label_smoothing=0.0), tokens, tokens)


def settings(**changes: object) -> TrainSettings:
    given = {"steps": LEARNT, "batch_size": 48, "learning_rate": 1e-3, "optimizer": "muon", "precision": "bf16"}
    return TrainSettings.model_validate(given | changes)


def goes_on_to_the_bit(folder: Path) -> str:
    """Whether a run without its last checkpoint comes to the same weights again."""
    wanted = settings(steps=20, checkpoint_every=10, validate_every=20, deterministic=True)
    first = fit(small_task(), wanted, folder / "first", "run")
    shutil.copytree(folder / "first", folder / "second")
    for last in (folder / "second" / CHECKPOINTS).glob("*20*"):
        last.unlink()
    second = fit(small_task(), wanted, folder / "second", "run")
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    return "yes" if all(torch.equal(one, other) for one, other in pairs) else "no"


def losses() -> Table:
    """The mean loss of the last tenth of the same steps, by precision."""
    rows: list[tuple[Cell, ...]] = []
    for precision in ("fp32", "bf16"):
        take = stepper(small_task(), settings(precision=precision))
        found = [take(step)["loss/model"] for step in range(LEARNT)]
        rows.append((precision, found[0], sum(found[-LEARNT // 10 :]) / (LEARNT // 10)))
    columns = ("precision", "first loss, nats", f"loss after {LEARNT} steps, nats")
    return Table(columns=columns, rows=tuple(rows), formats=dict.fromkeys(columns[1:], ".4f"))


def steps(batch: int, compiled: bool) -> Table:
    """Training at the paper's shape: seconds, tokens a second, memory, and the share of the card's own product."""
    tokens, speeds = patterned(LAYOUT.streams), {"fp32": product(torch.float32), "bf16": product(torch.bfloat16)}
    rows = []
    for kind in KINDS:
        for precision in ("fp32", "bf16"):
            rows.append(step_row(kind, precision, batch, tokens, speeds[precision]))
    if compiled:
        FastBlock.add = torch.compile(Block.add, dynamic=True)  # type: ignore[method-assign]
        rows.append(step_row("masked, full", "bf16", batch, tokens, speeds["bf16"], ", compiled"))
    formats = {"seconds a step": ".3f", "tokens a second": ",.0f", "GB": ".1f", "of the card's product": ".0%"}
    return of_records(rows, formats)


def step_row(
    kind: str, precision: str, batch: int, tokens: TokenCache, speed: float, note: str = ""
) -> dict[str, Cell]:
    config = config_of(kind, activation_dropout=0.1, dropout=0.1)
    task = TransformerTask(config, MaskingObjective(), tokens, tokens)
    task.model.cuda()
    # Of fewer items, as products without a fused attention take the memory of all its weights.
    few = task.batch(8, torch.Generator().manual_seed(1))
    few = tuple({name: tensor.cuda() for name, tensor in part.items()} for part in few)
    count = operations(lambda: [phase.loss.backward() for phase in task.phases(few, 0)]) / 8 * batch  # type: ignore[arg-type]
    task.model.zero_grad()
    torch.cuda.reset_peak_memory_stats()
    take = stepper(task, settings(batch_size=batch, optimizer="adamw", precision=precision))
    taken = []
    for step in range(WARM + TIMED):
        taken.append(seconds(lambda step=step: take(step)))  # type: ignore[misc]
    middle = sorted(taken[WARM:])[TIMED // 2]
    return {
        "transformer": kind, "precision": precision + note, "seconds a step": middle,
        "tokens a second": batch * LAYOUT.tokens / middle, "GB": torch.cuda.max_memory_allocated() / 1e9,
        "of the card's product": count / middle / speed,
    }  # fmt: skip


def sampling() -> Table:
    """A ten-second sound for an image at the paper's shape, without encoding and decoding."""
    rows: list[tuple[Cell, ...]] = []
    for kind in ("masked, full", "visible, cross"):
        model = FastTransformer(config_of(kind)).cuda().bfloat16().eval().requires_grad_(False)
        for preset in ("quality", "fast"):
            for count in (1, 64):
                work = Sampling(model, with_changes(SamplingSettings(), {"preset": preset}), count)
                work.tokens = {name: tensor.cuda() for name, tensor in work.tokens.items()}
                work.masked = {name: tensor.cuda() for name, tensor in work.masked.items()}
                with torch.inference_mode():
                    work.fast()
                    rows.append((kind, preset, count, seconds(work.fast)))
    columns = ("transformer", "preset", "sounds at once", "seconds")
    return Table(columns=columns, rows=tuple(rows), formats={"seconds": ".2f"})


def product(dtype: torch.dtype) -> float:
    """Operations a second of a large product of random matrices."""
    left, right = (torch.randn(SIDE, SIDE, device="cuda", dtype=dtype) for _ in range(2))
    left @ right
    return PRODUCTS * 2 * SIDE**3 / seconds(lambda: [left @ right for _ in range(PRODUCTS)])


def seconds(work: Callable[[], object]) -> float:
    torch.cuda.synchronize()
    start = time.perf_counter()
    work()
    torch.cuda.synchronize()
    return time.perf_counter() - start


def card() -> Table:
    found = torch.cuda.get_device_properties(0)
    rows = (("card", found.name), ("GB", f"{found.total_memory / 1e9:.0f}"), ("torch", torch.__version__))
    return Table(columns=("measured on", ""), rows=rows)


if __name__ == "__main__":
    main()
