"""From files to report: rows, problems, pairs, and what a page carries."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from evaluation.material import Blocks, write_images, write_nan, write_silence, write_sounds
from visual_echoes.errors import EchoesError
from visual_echoes.evaluation import file_sets as module
from visual_echoes.evaluation.case import Case, UnusableFiles
from visual_echoes.evaluation.file_sets import evaluate_files
from visual_echoes.evaluation.listing import Listing, list_folder
from visual_echoes.evaluation.model_files import reconstruct_files
from visual_echoes.evaluation.page import page, write_reports
from visual_echoes.evaluation.records import Report
from visual_echoes.evaluation.tables import report_tables
from visual_echoes.layout import LAYOUTS, Modality
from visual_echoes.pipeline import VisualEchoes


def sounds_case(folder: Path, count: int = 12, round_trip: bool = True) -> Case:
    real, made, trip = (
        list_folder(write_sounds(folder / name, count, seed), "audio")
        for name, seed in (("real", 0), ("made", 1), ("trip", 0))
    )
    rows = {"real": {"audio": real}, "made": {"audio": made}}
    if round_trip:
        rows["round trip"] = {"audio": trip}
    return Case(("audio",), rows, layout=LAYOUTS["digits"])  # type: ignore[arg-type]


def test_rows_stand_side_by_side(tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []
    report, _ = evaluate_files(sounds_case(tmp_path), [Blocks()], progress=lambda *step: steps.append(step))
    assert list(report.columns) == ["real", "round trip", "made"]
    real, trip, made = report.columns.values()
    for column, items in ((real, 6), (trip, 12), (made, 12)):
        assert column.figures["blocks_frechet"].items == items
    assert trip["blocks_frechet"] == pytest.approx(0, abs=1e-6)
    assert abs(trip["blocks_kl_softmax"]) < 1e-5 < made["blocks_kl_softmax"]
    assert "blocks_kl_softmax" not in real.figures
    assert "blocks_inception" in real.figures
    assert trip["mel L1"] == 0.0
    assert set(report.measures) == set(trip.figures)
    assert steps[-1][0] == steps[-1][1]
    assert [step[0] for step in steps] == sorted(step[0] for step in steps)


def test_two_runs_give_the_same_json_but_for_the_times(tmp_path: Path) -> None:
    case = sounds_case(tmp_path)
    texts = []
    for cache in (tmp_path / "cache", tmp_path / "cache", None):
        report, _ = evaluate_files(case, [Blocks()], cache=cache)
        content = json.loads(report.model_dump_json())
        assert content.pop("seconds")
        texts.append(json.dumps(content))
        assert Report.model_validate_json(report.model_dump_json()) == report
    assert len(set(texts)) == 1


def test_missing_broken_silent_and_extra_files_are_listed_and_fail(tmp_path: Path) -> None:
    case = sounds_case(tmp_path, round_trip=False)
    folder = tmp_path / "made"
    (folder / "000.wav").unlink()
    write_nan(folder / "001.wav")
    write_silence(folder / "002.wav")
    shutil.copy(folder / "003.wav", folder / "other.wav")
    case = replace(case, rows={**case.rows, "made": {"audio": list_folder(folder, "audio")}})
    with pytest.raises(UnusableFiles, match="4 of the files cannot be used") as caught:
        evaluate_files(case, [Blocks()])
    assert {(p.id, p.kind) for p in caught.value.problems} == {
        ("000", "missing"), ("001", "unreadable"), ("002", "silent"), ("other", "extra"),
    }  # fmt: skip
    assert all("made" in p.detail for p in caught.value.problems)
    with pytest.raises(UnusableFiles, match="1 of the files"):
        evaluate_files(case, [Blocks()], allowed=["000", "001.wav", "002"])
    report, left = evaluate_files(case, [Blocks()], allowed=["000", "001.wav", "002.wav", "other.wav", "other"])
    assert report.columns["made"].sources["audio"].files == 10  # the silent one counts: nobody gains by leaving it out
    assert report.columns["made"].matrices["blocks"].pairs == 10
    assert len(report.problems) == 4
    assert all(problem.allowed for problem in report.problems)
    assert "is silent" in page(report, left)


@pytest.mark.parametrize(("row", "broken", "left"), [("made", 4, 0), ("real", 3, 1)])
def test_too_few_files_that_are_left_are_one_sentence(tmp_path: Path, row: str, broken: int, left: int) -> None:
    case = sounds_case(tmp_path, 4, round_trip=False)
    for path in sorted((tmp_path / row).iterdir())[:broken]:
        write_nan(path)
    with pytest.raises(EchoesError, match=f"{left} sounds of .*{row} can be measured; a figure needs 2 or more"):
        evaluate_files(case, [Blocks()], allowed=list(case.rows["real"]["audio"].files))


def test_other_rates_are_resampled(tmp_path: Path) -> None:
    import soundfile

    case = sounds_case(tmp_path, round_trip=False)
    for path in (tmp_path / "made").iterdir():
        wave, rate = soundfile.read(path)
        soundfile.write(path, np.repeat(wave, 2), 2 * rate)
    report, _ = evaluate_files(case, [Blocks()])
    assert report.columns["made"]["sound_files"] == 12


def test_few_files_are_warned_of(tmp_path: Path) -> None:
    report, _ = evaluate_files(sounds_case(tmp_path, 3, round_trip=False), [Blocks()])
    texts = report.warnings
    assert any("3 files are fewer than the 5" in text for text in texts)
    assert any("no round trip was given" in text for text in texts)
    assert any("real, blocks: no distances" in text for text in texts)
    distances = report_tables(report)["distances"]
    assert distances.columns == ("of", "Fréchet distance (blocks), blocks", "kernel distance (blocks), blocks")
    cells = {row[0]: row[1] for row in distances.texts()}
    assert cells["made"].endswith("! (n = 3 and 3 files)")
    assert cells["real"] == "-"


def pairs_case(folder: Path, real: bool = True) -> Case:
    rows = {
        row: {
            "image": list_folder(write_images(folder / row / "p", 12, seed), "image"),
            "audio": list_folder(write_sounds(folder / row / "s", 12, seed), "audio"),
        }
        for seed, row in enumerate(("real", "made"))
        if real or row == "made"
    }
    return Case(("image", "audio"), rows)  # type: ignore[arg-type]


def test_pairs_are_compared_with_each_other_and_with_real_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "Classifier", Blocks)
    image, audio = Blocks("image", "clip"), Blocks("audio", "wav2clip")
    report, _ = evaluate_files(pairs_case(tmp_path), [image, audio])
    made = report.columns["made"]
    folders = tmp_path / "made/p", tmp_path / "made/s"
    looks = [
        [backbone.look([backbone.read(path)])[0].features_FD[0].double().numpy() for path in sorted(folder.iterdir())]
        for backbone, folder in zip((image, audio), folders, strict=True)
    ]
    cosines = [100 * a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in zip(*looks, strict=True)]
    assert made["clip_score"] == pytest.approx(np.mean(cosines))
    assert made.figures["clip_score"].items == 12
    assert "clip_frechet" in made.figures
    assert "clip_kl_softmax" not in made.figures  # from nothing: no real file belongs to a made one
    others, _ = evaluate_files(pairs_case(tmp_path / "more"), [Blocks("image", "a"), Blocks("audio", "b")])
    matrix = others.columns["made"].matrices["pairs"]
    assert sum(map(sum, matrix.counts)) == 12
    agree = sum(matrix.counts[index][index] for index in range(len(matrix.labels))) / 12
    assert others.columns["made"]["file_pairs_agree"] == pytest.approx(agree)


def test_pairs_alone_have_no_distances(tmp_path: Path) -> None:
    report, _ = evaluate_files(pairs_case(tmp_path, real=False), [Blocks("image", "a"), Blocks("audio", "b")])
    assert "b_frechet" not in report.columns["made"].figures
    assert "b_inception" in report.columns["made"].figures


def test_a_half_without_the_other_is_a_problem(tmp_path: Path) -> None:
    case = pairs_case(tmp_path)
    (tmp_path / "made/s/003.wav").unlink()
    made = {**case.rows["made"], "audio": list_folder(tmp_path / "made/s", "audio")}
    with pytest.raises(UnusableFiles) as caught:
        evaluate_files(replace(case, rows={**case.rows, "made": made}), [Blocks("image", "a")])
    assert [(p.id, p.kind, p.modality) for p in caught.value.problems] == [("003", "missing", "audio")]


def test_names_that_never_match_are_one_sentence(tmp_path: Path) -> None:
    case = sounds_case(tmp_path, 3, round_trip=False)
    other = Listing("elsewhere", "audio", {f"x{id}": path for id, path in case.rows["made"]["audio"].files.items()})
    with pytest.raises(EchoesError, match="No file of elsewhere .x000, x001, x002. has the name"):
        evaluate_files(replace(case, rows={**case.rows, "made": {"audio": other}}), [Blocks()])


@pytest.mark.parametrize("modality", ["image", "audio"])
def test_a_models_round_trip_is_measured_from_files(tmp_path: Path, echoes: VisualEchoes, modality: Modality) -> None:
    write = write_images if modality == "image" else write_sounds
    real = list_folder(write(tmp_path / "real" / "deeper", 5), modality)
    found = reconstruct_files(echoes, real, tmp_path / "trip", "tiny", 2, lambda done: None)
    assert list(found.made.files) == list(found.given.files) == list(real.files)
    case = Case((modality,), {"real": {modality: real}}, lambda listing, progress: found, echoes.layout)
    report, _ = evaluate_files(case, [Blocks(modality)])
    word = "image" if modality == "image" else "sound"
    trip = report.columns["round trip"]
    assert trip[f"{word}_codes"] > 0
    assert (
        {"PSNR (dB)", "SSIM"} <= set(trip.figures)
        if modality == "image"
        else {"mel L1", "STFT distance"} <= set(trip.figures)
    )
    assert "made" not in report.columns


def test_a_page_needs_nothing_beside_itself(tmp_path: Path) -> None:
    case = pairs_case(tmp_path)
    made = case.rows["made"]["audio"]
    path = made.files["000"]
    named = Listing("<script>alert(1)</script>", "audio", {**made.files, "000": path})
    case = replace(case, rows={**case.rows, "made": {**case.rows["made"], "audio": named}})
    report, case = evaluate_files(case, [Blocks("image", "a"), Blocks("audio", "b")])
    files = write_reports(report, tmp_path / "report", case)
    assert [file.name for file in files] == ["report.json", "report.html"]
    text = files[1].read_text()
    assert "<script>" not in text
    assert 'src="data:audio/wav;base64,' in text
    assert 'src="data:image/png;base64,' in text
    assert "<svg" in text
    assert 'class="matrix"' not in text  # made from nothing, and no own classifiers: nothing to confuse
    assert "http://" not in text.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in text
    assert text.count("<audio") <= 2 * 6
    sounds, left = evaluate_files(sounds_case(tmp_path / "sounds"), [Blocks()])
    assert 'class="matrix"' in page(sounds, left)
