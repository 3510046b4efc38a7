"""Figures that a document may give without a mark, since nobody measures them here; each with its reason."""

from __future__ import annotations

# Regular expressions; what they match may stand anywhere.
PHRASES = {
    r"(?s)\n## The paper, sentence by sentence\n.*?(?=\n## |\Z)": "constants of the paper and of works it builds on",
    r"(?s)\n## What others published\n.*?(?=\n## |\Z)": "what others published, by their own protocols",
    r"\b(Python|torch|LPIPS|BirdNET) \d+\.\d+( to \d\.\d+)?": "releases",
    r"0\.2 may break what 0\.1 promised": "releases, as an example",
    r"arXiv \d+\.\d+": "a paper's number",
    r"\bCC BY(-\w+)* \d\.0": "a licence",
    r"\bversion \d\.0, https://[\w./]+": "a licence",
    r"https://creativecommons\.org/licenses/by/\d\.0/": "a licence",
    r"a peak of\s0\.95": "how the authors of HiFi-GAN trained",
    r"128 for each 0\.96 s|an end under 0\.96 s": "frames of VGGish, whose authors chose them",
    r"av-benchmark cuts to 8 s|silence up to 10\.24 s": "how other tools prepare sounds",
    r"the first 8 s|at 25 Hz|at 16 kHz|21 offsets|from -2 to 2 s|(first|last) 4\.8 s": "how Synchformer is asked",
    r"one pair adds 13\.8 at most": "the logarithm of the floor beside it",
    r"95 % interval": "the figure's definition",
    r"deviation 1\.5": "the window of SSIM, by its definition",
}
