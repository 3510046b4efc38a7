"""Frames are shown as players show them: every orientation, wide pixels, the colours that the file names."""

from __future__ import annotations

import io
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from media.test_pixels import BLUE, GREEN, RED, YELLOW, near, quad
from visual_echoes.errors import EchoesError
from visual_echoes.media import read_frames, read_frames_at, read_image, videos

WIDTH, HEIGHT = 64, 32
ONE = 1 << 16


def write(
    path: Path,
    pixels: np.ndarray,
    codec: str = "libx264",
    format: str = "yuv444p",
    prepare: Callable[[av.video.stream.VideoStream], object] = lambda stream: None,
    options: dict[str, str] | None = None,
) -> Path:
    """A video of four equal frames, as good as without loss."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10, options={"qp": "4"} if codec == "libx264" else {})
        stream.height, stream.width, stream.pix_fmt = *pixels.shape[:2], format
        prepare(stream)
        for index in range(4):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgba" if pixels.shape[2] == 4 else "rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


ORIENTATIONS = {
    (1, 0, 0, 1): [RED, GREEN, BLUE, YELLOW], (-1, 0, 0, 1): [GREEN, RED, YELLOW, BLUE],
    (1, 0, 0, -1): [BLUE, YELLOW, RED, GREEN], (-1, 0, 0, -1): [YELLOW, BLUE, GREEN, RED],
    (0, 1, 1, 0): [RED, BLUE, GREEN, YELLOW], (0, 1, -1, 0): [BLUE, RED, YELLOW, GREEN],
    (0, -1, 1, 0): [GREEN, YELLOW, RED, BLUE], (0, -1, -1, 0): [YELLOW, GREEN, BLUE, RED],
}  # fmt: skip
IN_MATROSKA = [(1, 0, 0, 1), (-1, 0, 0, 1), (-1, 0, 0, -1), (0, 1, -1, 0), (0, -1, 1, 0)]  # angles, and one mirror


@pytest.mark.parametrize(
    ("name", "matrix"),
    [*((name, matrix) for name in ("a.mp4", "a.mov") for matrix in ORIENTATIONS), *(("a.mkv", m) for m in IN_MATROSKA)],
)
def test_every_orientation(tmp_path: Path, name: str, matrix: tuple[int, int, int, int]) -> None:
    """A pixel at (x, y) is shown at (a x + c y, b x + d y)."""
    a, b, c, d = matrix
    full = (a * ONE, b * ONE, 0, c * ONE, d * ONE, 0, 0, 0, 1 << 30)
    path = write(tmp_path / name, quad(WIDTH, HEIGHT), prepare=lambda stream: stream.set_display_matrix(full))
    for image in (*read_frames(path, 2), *read_frames_at(path, [0.1]), read_image(path)):
        assert image.size == ((WIDTH, HEIGHT) if a else (HEIGHT, WIDTH))
        assert near(image, ORIENTATIONS[matrix], 12)


@pytest.mark.parametrize(
    "matrix", [(0, 0, 0, 0, 0, 0, 0, 0, 0), (3 * ONE, 0, 0, 0, 3 * ONE, 0, 9 * ONE, 5 * ONE, 1 << 30),
               (ONE, ONE // 5, 0, -ONE // 5, ONE, 0, 0, 0, 1 << 30)],
)  # fmt: skip
def test_odd_matrices_turn_nothing(tmp_path: Path, matrix: tuple[int, ...]) -> None:
    path = write(tmp_path / "a.mp4", quad(WIDTH, HEIGHT), prepare=lambda stream: stream.set_display_matrix(matrix))
    (image,) = read_frames(path, 1)
    assert image.size == (WIDTH, HEIGHT)
    assert near(image, [RED, GREEN, BLUE, YELLOW], 12)


def test_an_orientation_beside_data_that_pyav_does_not_know(tmp_path: Path) -> None:
    """Motion JPEG whose frames carry EXIF tags."""
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    Image.fromarray(quad(WIDTH, HEIGHT)).save(buffer, "JPEG", exif=exif, quality=95)
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("mjpeg", rate=10)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuvj420p"
        container.start_encoding()
        for index in range(3):
            packet = av.Packet(buffer.getvalue())
            packet.stream, packet.pts, packet.dts, packet.is_keyframe = stream, index * 100, index * 100, True
            container.mux(packet)
    assert near(read_image(tmp_path / "a.mkv"), [BLUE, RED, YELLOW, GREEN], 16)


def in_header(stream: av.video.stream.VideoStream, aspect: Fraction) -> None:
    stream.codec_context.sample_aspect_ratio = aspect


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi"])
@pytest.mark.parametrize(("aspect", "size"), [
    (Fraction(2), (2 * WIDTH, HEIGHT)), (Fraction(1, 2), (WIDTH, 2 * HEIGHT)), (Fraction(4, 3), (85, HEIGHT)),
    (Fraction(1), (WIDTH, HEIGHT)), (Fraction(100), (WIDTH, HEIGHT)), (Fraction(1, 100), (WIDTH, HEIGHT)),
])  # fmt: skip
def test_pixels_are_made_square(tmp_path: Path, name: str, aspect: Fraction, size: tuple[int, int]) -> None:
    path = write(tmp_path / name, quad(WIDTH, HEIGHT), prepare=lambda stream: in_header(stream, aspect))
    (image,) = read_frames(path, 1)
    assert image.size == size
    assert near(image, [RED, GREEN, BLUE, YELLOW], 12)


def test_wide_pixels_are_turned_with_their_frame(tmp_path: Path) -> None:
    def prepare(stream: av.video.stream.VideoStream) -> None:
        in_header(stream, Fraction(2))
        stream.set_display_rotation(90)

    (image,) = read_frames(write(tmp_path / "a.mp4", quad(WIDTH, HEIGHT), prepare=prepare), 1)
    assert image.size == (HEIGHT, 2 * WIDTH)
    assert near(image, [GREEN, YELLOW, RED, BLUE], 12)


def test_wide_pixels_count_for_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.mp4", quad(WIDTH, HEIGHT), prepare=lambda stream: in_header(stream, Fraction(2)))
    monkeypatch.setattr(videos, "MAX_FRAME_PIXELS", 2 * WIDTH * HEIGHT)
    assert len(read_frames(path, 1)) == 1
    monkeypatch.setattr(videos, "MAX_FRAME_PIXELS", 2 * WIDTH * HEIGHT - 1)
    with pytest.raises(EchoesError, match="megapixels"):
        read_frames(path, 1)


@pytest.mark.parametrize(("matrix", "weights"), [(5, (0.299, 0.114)), (1, (0.2126, 0.0722)), (9, (0.2627, 0.0593))])
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("format", ["yuv444p", "yuv444p10le"])
def test_colours_by_the_matrix_and_range_that_are_named(
    tmp_path: Path, matrix: int, weights: tuple[float, float], full: bool, format: str
) -> None:
    """ITU-R BT.601, BT.709 and BT.2020: levels by their formulas, in a codec without loss."""
    colours = np.array([RED, GREEN, BLUE, YELLOW])
    red, blue = weights
    parts = colours / 255 @ np.array([red, 1 - red - blue, blue])
    chroma = [(colours[:, 2] / 255 - parts) / (2 - 2 * blue), (colours[:, 0] / 255 - parts) / (2 - 2 * red)]
    planes = [255 * parts, *(255 * part + 128 for part in chroma)]
    if not full:
        planes = [16 + 219 * parts, *(224 * part + 128 for part in chroma)]
    scale, kind = (4, "<u2") if "10" in format else (1, "u1")
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=10)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, format
        stream.codec_context.colorspace, stream.codec_context.color_range = matrix, 2 if full else 1
        frame = av.VideoFrame(WIDTH, HEIGHT, format)
        for plane, levels in zip(frame.planes, planes, strict=True):
            quarters = np.rint(levels * scale).astype(kind).reshape(2, 2)
            rows = np.kron(quarters, np.ones((HEIGHT // 2, WIDTH // 2))).astype(kind).view(np.uint8)
            plane.update(np.pad(rows, ((0, 0), (0, plane.line_size - rows.shape[1]))).tobytes())
        frame.colorspace, frame.color_range, frame.pts, frame.time_base = matrix, 2 if full else 1, 0, Fraction(1, 10)
        container.mux([*stream.encode(frame), *stream.encode(None)])
    assert near(read_image(tmp_path / "a.mkv"), [RED, GREEN, BLUE, YELLOW], 3)


@pytest.mark.parametrize(("name", "codec", "format"), [("a.mov", "qtrle", "argb"), ("a.mov", "png", "rgba"),
                                                       ("a.mkv", "ffv1", "yuva420p")])  # fmt: skip
def test_transparent_frames_are_laid_over_black(tmp_path: Path, name: str, codec: str, format: str) -> None:
    pixels = np.dstack([quad(WIDTH, HEIGHT), np.full((HEIGHT, WIDTH), 255, np.uint8)])
    pixels[: HEIGHT // 2, : WIDTH // 2, 3] = 0  # over the red
    image = read_image(write(tmp_path / name, pixels, codec, format))
    assert image.mode == "RGB"
    assert near(image, [(0, 0, 0), GREEN, BLUE, YELLOW], 6)


def test_grey_and_palette_frames(tmp_path: Path) -> None:
    grey = read_image(write(tmp_path / "a.mkv", np.full((32, 32, 3), 100, np.uint8), "ffv1", "gray"))
    assert (grey.mode, grey.getpixel((5, 5))) == ("RGB", (100, 100, 100))
