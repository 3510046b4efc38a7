"""Which image watermarks of published packages survive in what the packaged model `scenes` makes.

Usage: python benchmarks/watermarks.py [--examples 12] [-o FILE]

Needs packages that the project does not use otherwise:
    pip install opencv-python-headless PyWavelets
    pip install --no-deps invisible-watermark==0.2.0 blind-watermark==0.4.4

For each method: the share of bits that come back (chance: 0.5) from the marked image, from its JPEG, from its video
and from an image without a mark; and the PSNR of the marked image. Images have their own 32 x 32 pixels, or the
256 x 256 of the video. What a method refuses is recorded with its reason.
"""

from __future__ import annotations

import argparse
import io
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from measuring import add_output, show
from PIL import Image

from visual_echoes import VisualEchoes
from visual_echoes.evaluation.measurement import ONLY, Cell, Table
from visual_echoes.media import read_frames, write_mp4

Coder = Callable[..., np.ndarray]
Method = Callable[[], tuple[Coder, Coder]]  # what puts bits into pixels, and what reads them

BITS = 32
FORMATS = {"PNG": ".2f", "JPEG 90": ".2f", "the video": ".2f", "without a mark": ".2f", "PSNR, dB": ".1f"}
ENLARGE = 8  # what the video's image is enlarged by


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--examples", type=int, default=12)
    add_output(arguments)
    options = arguments.parse_args()
    made = VisualEchoes.from_pretrained("scenes", device="cpu").generate_pair(options.examples, seed=0)
    assert made.images is not None
    large = made.images.repeat(ENLARGE, axis=1).repeat(ENLARGE, axis=2)
    rows: list[tuple[Cell, ...]] = []
    for size, pictures in (("32 x 32", made.images), ("256 x 256", large)):
        for name, method in METHODS.items():
            rows.append((name, size, *measure_images(method, pictures)))
    table = Table(columns=("method", "size", *FORMATS), rows=tuple(rows), formats=FORMATS)
    show({ONLY: table}, options.output)


def measure_images(method: Method, pictures: np.ndarray) -> list[Cell]:
    """What `FORMATS` names; of a method that refuses, why, in place of the first."""
    encode, decode = method()
    noise = np.random.default_rng(0)
    scores: dict[str, list[float]] = {name: [] for name in FORMATS}
    try:
        for pixels in pictures:
            bits = noise.integers(0, 2, BITS).astype(bool)
            marked = encode(pixels, bits)
            error = np.mean((marked.astype(float) - pixels) ** 2)
            scores["PSNR, dB"].append(float(10 * np.log10(255**2 / max(error, 1e-9))))
            for name, seen in (("PNG", marked), ("JPEG 90", jpeg(marked)), ("the video", video(marked)),
                               ("without a mark", pixels)):  # fmt: skip
                scores[name].append(float((decode(seen) == bits).mean()))
    except Exception as error:  # these packages raise whatever happens
        return [f"refused: {error}", *[None] * (len(FORMATS) - 1)]
    return [float(np.mean(values)) for values in scores.values()]


def _invisible(kind: str) -> Method:
    def make() -> tuple[Coder, Coder]:
        from imwatermark import WatermarkDecoder, WatermarkEncoder

        def encode(pixels: np.ndarray, bits: np.ndarray) -> np.ndarray:
            encoder = WatermarkEncoder()
            encoder.set_watermark("bits", bits)
            return encoder.encode(np.ascontiguousarray(pixels[..., ::-1]), kind)[..., ::-1]

        def decode(pixels: np.ndarray) -> np.ndarray:
            decoder = WatermarkDecoder("bits", BITS)
            return np.asarray(decoder.decode(np.ascontiguousarray(pixels[..., ::-1]), kind), bool)

        return encode, decode

    return make


def _blind() -> tuple[Coder, Coder]:
    from blind_watermark import WaterMark

    def encode(pixels: np.ndarray, bits: np.ndarray) -> np.ndarray:
        mark = WaterMark(password_img=1, password_wm=1)
        mark.read_img(img=np.ascontiguousarray(pixels[..., ::-1]))
        mark.read_wm(list(bits), mode="bit")
        return np.clip(np.rint(mark.embed()), 0, 255).astype(np.uint8)[..., ::-1]

    def decode(pixels: np.ndarray) -> np.ndarray:
        mark = WaterMark(password_img=1, password_wm=1)
        found = mark.extract(embed_img=np.ascontiguousarray(pixels[..., ::-1]), wm_shape=BITS, mode="bit")
        return np.asarray(found) > 0.5

    return encode, decode


def jpeg(pixels: np.ndarray) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, "JPEG", quality=90)
    return np.asarray(Image.open(buffer))


def video(pixels: np.ndarray) -> np.ndarray:
    """The image as the video has it, in its own size again."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.mp4"
        write_mp4(path, np.ascontiguousarray(pixels), np.zeros(8000, np.float32), 16_000, {})
        (frame,) = read_frames(path, 1)
    return np.asarray(frame.resize(pixels.shape[1::-1], Image.Resampling.BOX))


METHODS = {
    "invisible-watermark 0.2.0, dwtDct": _invisible("dwtDct"),
    "invisible-watermark 0.2.0, dwtDctSvd": _invisible("dwtDctSvd"),
    "blind-watermark 0.4.4": _blind,
}

if __name__ == "__main__":
    main()
