"""Synchformer (Iashin et al. 2024): by how much a sound is late or early for a video.

Frames and sound are cut into segments of 0.64 s that overlap by half. The frames of a segment go through a Motionformer
whose attention is divided into time and space, its log-mel spectrogram through an AST. In each moment one more layer
gathers what was seen or heard. A transformer over the moments of all segments tells in which class the offset lies.

Shapes: B segments, S segments of a clip, F frames, T moments, L patches of a moment, P positions, D features, H heads,
M mel bands, N samples.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from visual_echoes.audio import fft_bins, triangles
from visual_echoes.machine import without_memory
from visual_echoes.metrics.networks.yamnet import hertz_of_htk, htk_edges

RATE, FRAME_RATE = 16000, 25  # Hz
SEGMENT, STEP = 16, 8  # frames
SEGMENTS = 14  # that are compared at once
LARGEST, OFFSETS = 2.0, 21  # seconds; classes from the sound that far late to as early
SIDE = 224  # pixels of a frame
LEAST = SEGMENT + STEP * (SEGMENTS - 1)  # frames of a clip

# The spectrogram: torchaudio's, with power and an HTK scale, normalised as AST is.
N_FFT, WINDOW, HOP, BANDS, COLUMNS = 1024, 400, 160, 128, 66
LOG_OFFSET, MEAN, DEVIATION = 1e-6, -4.2677393, 4.5689974

WIDTH, HEADS, LAYERS, PATCH, TUBE = 768, 12, 12, 16, 2
GRID = SIDE // PATCH
MOMENTS_SEEN, MOMENTS_HEARD = SEGMENT // TUBE, 6
PATCH_STEP = 10  # of AST's overlapping patches
HEARD_ROWS = (BANDS - PATCH) // PATCH_STEP + 1
JUDGE_LAYERS, JUDGE_HEADS, JUDGE_EPS = 3, 8, 1e-5
EPS, AST_EPS = 1e-6, 1e-12

# From the published names to those here; three that stand apart are queries, keys and values.
_RENAMED = (
    (r"^vfeat_extractor\.patch_embed_3d\.proj\.", "seen.patches."),
    (r"^vfeat_extractor\.spatial_attn_agg\.", "seen.gather."),
    (r"^vfeat_extractor\.", "seen."),
    (r"^afeat_extractor\.freq_attn_agg\.", "heard.gather."),
    (r"^afeat_extractor\.ast\.embeddings\.patch_embeddings\.projection\.", "heard.patches."),
    (r"^afeat_extractor\.ast\.(embeddings\.|encoder\.)?", "heard."),
    (r"^transformer\.pos_emb_cfg\.", "judge."),
    (r"^transformer\.", "judge."),
    (r"\.layer\.", ".blocks."),
    (r"\.attention\.attention\.(query|key|value)\.", r".attn.\1."),
    (r"\.attention\.output\.dense\.", ".attn.proj."),
    (r"\.intermediate\.dense\.|\.mlp\.0\.", ".mlp.fc1."),
    (r"\.output\.dense\.|\.mlp\.2\.", ".mlp.fc2."),
    (r"\.layernorm_before\.|\.ln1\.", ".norm1."),
    (r"\.layernorm_after\.|\.ln2\.", ".norm2."),
    (r"^heard\.layernorm\.", "heard.norm."),
)


def own_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of the published checkpoint that are used here, by their names here."""
    found = {_own_name(name): value for name, value in tensors.items()}
    for name in [name for name in found if ".attn.query." in name]:
        parts = [found.pop(name.replace("query", part), torch.zeros(0)) for part in ("query", "key", "value")]
        found[name.replace("query", "qkv")] = torch.cat(parts)
    with without_memory():
        used = Synchformer().state_dict().keys()
    return {name: value for name, value in found.items() if name in used}


def _own_name(name: str) -> str:
    for pattern, own in _RENAMED:
        name = re.sub(pattern, own, name)
    return name


def spectrograms(wave_N: Tensor) -> Tensor:
    """Normalised log-mel spectrograms of the segments of a sound at 16 kHz, (B, M, `COLUMNS`)."""
    frame = RATE // FRAME_RATE
    waves_BN = wave_N.unfold(0, SEGMENT * frame, STEP * frame)
    window = F.pad(torch.hann_window(WINDOW), [(N_FFT - WINDOW) // 2] * 2)
    spectra_BFT = torch.stft(waves_BN, N_FFT, HOP, window=window, pad_mode="reflect", return_complex=True)
    filters_MF = triangles(hertz_of_htk(htk_edges(BANDS, 0.0, RATE / 2)), fft_bins(RATE, N_FFT)).float()
    log_BMT = torch.log(filters_MF @ spectra_BFT.abs().square() + LOG_OFFSET)
    return (F.pad(log_BMT, (0, COLUMNS - log_BMT.shape[-1])) - MEAN) / (2 * DEVIATION)


class Attention(nn.Module):
    """Multi-head attention over positions."""

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.proj = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, x_BPD: Tensor) -> Tensor:
        return self.join(self.attend(*self.by_head(x_BPD)))

    def by_head(self, x_BPD: Tensor) -> tuple[Tensor, ...]:
        """Queries, keys and values, (B, H, P, D / H) each."""
        return tuple(self.qkv(x_BPD).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4))

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(q, k, v)

    def join(self, x_BHPd: Tensor) -> Tensor:
        return self.proj(x_BHPd.transpose(1, 2).flatten(2))


class DividedAttention(Attention):
    """Patches attend to those of their own moment or, with `in_time`, to their own place in all moments; each also to
    the first position, which attends to everything (Bertasius et al. 2021)."""

    def __init__(self, in_time: bool) -> None:
        super().__init__(HEADS)
        self.in_time = in_time

    def forward(self, x_BPD: Tensor) -> Tensor:
        q, k, v = self.by_head(x_BPD)
        first_BH1d = self.attend(q[:, :, :1], k, v)
        q, k, v = (self._groups(x_BHPd, first=part > 0) for part, x_BHPd in enumerate((q, k, v)))
        rest_BHGLd = self.attend(q, k, v)
        rest_BHTLd = rest_BHGLd.transpose(2, 3) if self.in_time else rest_BHGLd
        return self.join(torch.cat([first_BH1d, rest_BHTLd.flatten(2, 3)], 2))

    def _groups(self, x_BHPd: Tensor, first: bool) -> Tensor:
        """Patches by what attends to each other, with the first position before each group if wanted."""
        rest_BHGLd = x_BHPd[:, :, 1:].unflatten(2, (MOMENTS_SEEN, GRID**2))
        rest_BHGLd = rest_BHGLd.transpose(2, 3) if self.in_time else rest_BHGLd
        if not first:
            return rest_BHGLd
        first_BHG1d = x_BHPd[:, :, None, :1].expand(-1, -1, rest_BHGLd.shape[2], -1, -1)
        return torch.cat([first_BHG1d, rest_BHGLd], 3)


class MLP(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x_BPD: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x_BPD)))


class Block(nn.Module):
    """Attention, then an MLP, each of what is normed first."""

    def __init__(self, heads: int, eps: float) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH, eps), nn.LayerNorm(WIDTH, eps)
        self.attn, self.mlp = Attention(heads), MLP()

    def forward(self, x_BPD: Tensor) -> Tensor:
        x_BPD = x_BPD + self.attn(self.norm1(x_BPD))
        return x_BPD + self.mlp(self.norm2(x_BPD))


class DividedBlock(Block):
    """The same, with attention over time before that over space."""

    def __init__(self) -> None:
        super().__init__(HEADS, EPS)
        self.norm3 = nn.LayerNorm(WIDTH, EPS)
        self.timeattn, self.attn = DividedAttention(in_time=True), DividedAttention(in_time=False)

    def forward(self, x_BPD: Tensor) -> Tensor:
        return super().forward(x_BPD + self.timeattn(self.norm3(x_BPD)))


class Gather(nn.TransformerEncoderLayer):
    """One vector for each group of positions: what another position gathers from them."""

    def __init__(self) -> None:
        super().__init__(WIDTH, HEADS, 4 * WIDTH, 0.0, nn.GELU(), layer_norm_eps=EPS, batch_first=True, norm_first=True)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, WIDTH))

    def gather(self, x_BTLD: Tensor) -> Tensor:
        """(B, T, D)."""
        groups_GLD = x_BTLD.flatten(0, 1)
        first_G1D = self.cls_token.expand(len(groups_GLD), -1, -1)
        return self(torch.cat([first_G1D, groups_GLD], 1))[:, 0].unflatten(0, x_BTLD.shape[:2])


class Seen(nn.Module):
    """Motionformer with divided attention."""

    def __init__(self) -> None:
        super().__init__()
        tube = (TUBE, PATCH, PATCH)
        self.patches = nn.Conv3d(3, WIDTH, tube, tube)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, WIDTH))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + GRID**2, WIDTH))
        self.temp_embed = nn.Parameter(torch.zeros(1, MOMENTS_SEEN, WIDTH))
        self.blocks = nn.ModuleList(DividedBlock() for _ in range(LAYERS))
        self.norm, self.gather = nn.LayerNorm(WIDTH, EPS), Gather()

    def forward(self, frames_BF3HW: Tensor) -> Tensor:
        """(B, T, D) of frames in [-1, 1]."""
        patches_BTLD = self.patches(frames_BF3HW.transpose(1, 2)).flatten(3).permute(0, 2, 3, 1)
        placed_BTLD = patches_BTLD + self.pos_embed[:, None, 1:] + self.temp_embed[:, :, None]
        first_B1D = (self.cls_token + self.pos_embed[:, :1]).expand(len(patches_BTLD), -1, -1)
        x_BPD = torch.cat([first_B1D, placed_BTLD.flatten(1, 2)], 1)
        for block in self.blocks:
            x_BPD = block(x_BPD)
        return self.gather.gather(self.norm(x_BPD[:, 1:]).unflatten(1, (MOMENTS_SEEN, -1)))


class Heard(nn.Module):
    """AST (Gong et al. 2021)."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, WIDTH, PATCH, PATCH_STEP)
        self.cls_token, self.distillation_token = (nn.Parameter(torch.zeros(1, 1, WIDTH)) for _ in range(2))
        self.position_embeddings = nn.Parameter(torch.zeros(1, 2 + HEARD_ROWS * MOMENTS_HEARD, WIDTH))
        self.blocks = nn.ModuleList(Block(HEADS, AST_EPS) for _ in range(LAYERS))
        self.norm, self.gather = nn.LayerNorm(WIDTH, AST_EPS), Gather()

    def forward(self, mel_BMT: Tensor) -> Tensor:
        """(B, T, D) of normalised spectrograms."""
        patches_BPD = self.patches(mel_BMT[:, None]).flatten(2).transpose(1, 2)
        first = [token.expand(len(mel_BMT), -1, -1) for token in (self.cls_token, self.distillation_token)]
        x_BPD = torch.cat([*first, patches_BPD], 1) + self.position_embeddings
        for block in self.blocks:
            x_BPD = block(x_BPD)
        rows_BLTD = self.norm(x_BPD)[:, 2:].unflatten(1, (HEARD_ROWS, MOMENTS_HEARD))
        return self.gather.gather(rows_BLTD.transpose(1, 2))


class Judge(nn.Module):
    """Tells the offset from all that was seen and heard."""

    def __init__(self) -> None:
        super().__init__()
        self.OFF_tok, self.MOD_tok = (nn.Parameter(torch.zeros(1, 1, WIDTH)) for _ in range(2))
        self.vis_in_lnorm, self.aud_in_lnorm, self.ln_f = (nn.LayerNorm(WIDTH, JUDGE_EPS) for _ in range(3))
        self.pos_emb = nn.Parameter(torch.zeros(1, 2 + SEGMENTS * (MOMENTS_SEEN + MOMENTS_HEARD), WIDTH))
        self.blocks = nn.ModuleList(Block(JUDGE_HEADS, JUDGE_EPS) for _ in range(JUDGE_LAYERS))
        self.off_head = nn.Linear(WIDTH, OFFSETS)

    def forward(self, seen_1PD: Tensor, heard_1PD: Tensor) -> Tensor:
        x_1PD = torch.cat([self.OFF_tok, self.vis_in_lnorm(seen_1PD), self.MOD_tok, self.aud_in_lnorm(heard_1PD)], 1)
        x_1PD = x_1PD + self.pos_emb
        for block in self.blocks:
            x_1PD = block(x_1PD)
        return self.off_head(self.ln_f(x_1PD[:, 0]))[0]


class Synchformer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.seen, self.heard, self.judge = Seen(), Heard(), Judge()
        self.vproj, self.aproj = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, seen_STD: Tensor, heard_STD: Tensor) -> Tensor:
        """Logits of the offsets of `SEGMENTS` segments, (`OFFSETS`,)."""
        return self.judge(self.vproj(seen_STD).flatten(0, 1)[None], self.aproj(heard_STD).flatten(0, 1)[None])
