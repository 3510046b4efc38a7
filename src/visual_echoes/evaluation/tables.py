"""A report as tables: on the terminal with Rich, and for documents (`measurement`)."""

from __future__ import annotations

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table as RichTable

from visual_echoes.evaluation.measurement import Table
from visual_echoes.evaluation.records import Against, Generated, Judged, Level, Look, Pairs, RealData, RoundTrip, Spread
from visual_echoes.evaluation.report import NO_OPINION, ClassesReport, ScenesReport
from visual_echoes.evaluation.targets import TargetResult
from visual_echoes.layout import Modality
from visual_echoes.pipeline import PairOrder

NOTHING = "-"
ITEMS: dict[Modality, str] = {"image": "pictures", "audio": "sounds"}
ORDER_WORDS: dict[PairOrder, str] = {"together": "both at once", "image_first": "image first"}


def print_report(report: ClassesReport, console: Console | None = None) -> None:
    """Print the targets, then all figures side by side."""
    console = console or Console()
    for table in report_tables(report).values():
        rich = RichTable(*table.columns, title=table.title, title_justify="left", box=SIMPLE)
        for row in table.texts():
            rich.add_row(*row)
        console.print(rich)


def report_tables(report: ClassesReport) -> dict[str, Table]:
    """The targets; the figures of real data, round trip and generated items side by side; of scenes, all there is."""
    rows = tuple((t.name, _number(t.value), _bound(t), "yes" if t.met else "no") for t in report.targets)
    targets = Table(title=f"Targets of {report.model.name}", columns=("measure", "value", "target", "met"), rows=rows)
    tables = {"targets": targets, "all": _comparison(report)}
    if isinstance(report, ScenesReport):
        tables |= {"distances": _distances(report), **_confusions(report)}
    return tables


def _comparison(report: ClassesReport) -> Table:
    measures = report.measures
    columns = {
        "real": _real_cells(measures.real),
        "round trip": _round_trip_cells(measures.round_trip),
        "generated": _generated_cells(measures.generated),
    }
    if measures.unguided is not None:
        columns["unguided"] = _generated_cells(measures.unguided)
    if isinstance(report, ScenesReport):
        columns |= {name: _against_cells(against) for name, against in report.measures.baselines.items()}
        for name, looks in report.measures.looks.items():
            columns[name] |= _opinion_cells(looks, report.second_opinions)
    # Rows in the order in which they are first named, from the right-hand column to the left.
    labels = dict.fromkeys(label for cells in reversed(columns.values()) for label in cells)
    return Table(
        title=f"{report.model.name} {report.model.version}: {report.data.pictures} test images, "
        f"{report.data.sounds} test sounds, seeds {', '.join(map(str, report.seeds))} (mean ± standard deviation), "
        f"guidance {measures.generated.settings.guidance:g}",
        columns=("measure", *columns),
        rows=tuple((label, *(cells.get(label, NOTHING) for cells in columns.values())) for label in labels),
    )


def _distances(report: ScenesReport) -> Table:
    """Distances from real test items, with how many items they are of."""
    rows = []
    for modality, items in ITEMS.items():
        for name, looks in report.measures.looks.items():
            d = looks[modality].distance
            kid = f"{d.kid_judge:.4f} ({d.kid_interval[0]:.4f} to {d.kid_interval[1]:.4f})"
            counts = f"{d.items} / {d.references}"
            rows.append((items, name, _number(d.frechet_judge), kid, counts, d.warning or NOTHING))
    return Table(
        title="Distances from real test items, in the features of this project's judges (not FID, not FAD)",
        columns=("items", "of", "frechet_judge", "kid_judge (95 %)", "n / real n", "warning"),
        rows=tuple(rows),
    )


def _confusions(report: ScenesReport) -> dict[str, Table]:
    made, groups = report.measures.generated, report.groups
    matrices: dict[str, tuple[str, Judged | Pairs]] = {
        "picture-to-sound": (
            "Image to sound: class of the image (rows), judged class of the sound",
            made.picture_to_sound.judged,
        ),
        "sound-to-picture": (
            "Sound to image: class of the sound (rows), judged class of the image",
            made.sound_to_picture.judged,
        ),
        "pairs": ("Pairs from nothing: judged class of the image (rows) and of the sound", made.pairs["together"]),
    }
    return {
        name: Table(
            title=f"{title}; all seeds",
            columns=("", *groups),
            rows=tuple((group, *row) for group, row in zip(groups, figures.confusion, strict=True)),
        )
        for name, (title, figures) in matrices.items()
    }


# One column each: what a row is called and what stands in it.


def _generated_cells(generated: Generated) -> dict[str, str]:
    to_image, to_sound = generated.sound_to_picture, generated.picture_to_sound
    cells = {
        "images judged right": _spread(to_image.judged.right),
        "sounds judged right": _spread(to_sound.judged.right),
    }
    for order, pairs in generated.pairs.items():
        words = ORDER_WORDS[order]
        cells[f"pairs agree, {words}"] = _spread(pairs.agree)
        cells[f"pairs, {words}: classes that appear"] = _number(pairs.groups_seen)
        cells[f"pairs, {words}: largest class"] = _number(pairs.largest_share)
    return {
        **cells,
        "image diversity": _spread(to_image.diversity.ratio),
        "mel diversity": _spread(to_sound.diversity.ratio),
        "nearest training image, mean": _number(to_image.nearest.mean),
        "nearest training image, closest": _number(to_image.nearest.smallest),
        **_level_cells(to_sound.level),
    }


def _round_trip_cells(trip: RoundTrip) -> dict[str, str]:
    pictures, sounds = trip.pictures, trip.sounds
    return {
        "images judged right": _number(pictures.right),
        "sounds judged right": _number(sounds.right),
        "image diversity": _number(pictures.diversity),
        "mel diversity": _number(trip.mel_diversity),
        "nearest training image, mean": _number(pictures.nearest.mean),
        "nearest training image, closest": _number(pictures.nearest.smallest),
        **_level_cells(sounds.level),
        "images: judged class kept": _number(pictures.kept),
        "sounds: judged class kept": _number(sounds.kept),
        "sounds: judged class kept, vocoder alone": _number(trip.vocoder.kept),
        "sounds judged right, vocoder alone": _number(trip.vocoder.right),
        "image PSNR, dB": f"{pictures.psnr_db:.1f}",
        "log-mel distance, tokenizer": _number(trip.mel_l1),
        "log-mel distance, tokenizer and vocoder": _number(sounds.mel_l1),
        "log-mel distance, vocoder alone": _number(trip.vocoder.mel_l1),
        "image codes in use": _number(pictures.codebook.usage),
        "image code perplexity": f"{pictures.codebook.perplexity:.0f} of {pictures.codebook.codes}",
        "sound codes in use": _number(trip.audio_codebook.usage),
        "sound code perplexity": f"{trip.audio_codebook.perplexity:.0f} of {trip.audio_codebook.codes}",
    }


def _real_cells(real: RealData) -> dict[str, str]:
    return {
        "images judged right": _number(real.picture_accuracy),
        "sounds judged right": _number(real.sound_accuracy),
        "image diversity": _number(1.0),
        "mel diversity": _number(1.0),
        "nearest training image, mean": _number(real.nearest.mean),
        "nearest training image, closest": _number(real.nearest.smallest),
        **_level_cells(real.level),
    }


def _against_cells(against: Against) -> dict[str, str]:
    return {
        "images judged right": _spread(against.sound_to_picture.judged.right),
        "sounds judged right": _spread(against.picture_to_sound.judged.right),
        **_level_cells(against.picture_to_sound.level),
    }


def _opinion_cells(looks: dict[Modality, Look], names: dict[Modality, str]) -> dict[str, str]:
    cells = {}
    for modality, items in ITEMS.items():
        opinion = looks[modality].second_opinion
        label = f"second opinion on {items}: {NO_OPINION}" if opinion is None else f"{items} right by {names[modality]}"
        cells[label] = NOTHING if opinion is None else _spread(opinion)
    return cells


def _level_cells(level: Level) -> dict[str, str]:
    return {
        "sound peak, dBFS": f"{level.peak_db:.1f}",
        "sound RMS, dBFS": f"{level.rms_db:.1f}",
        "silent sounds": _number(level.silent),
        "clipped sounds": _number(level.clipped),
    }


def _number(value: int | float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.3f}"


def _spread(spread: Spread) -> str:
    return f"{spread.mean:.3f} ± {spread.deviation:.3f}"


def _bound(target: TargetResult) -> str:
    return f"{'at most' if target.at_most else 'at least'} {target.bound:g}"
