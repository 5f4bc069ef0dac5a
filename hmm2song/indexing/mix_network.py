"""The network that hears who sings in a mix: harmonics of every possible pitch in, their likelihood out.

Two paths look at the same frames. The *pitch path* keeps the pitches apart: small convolutions over time and pitch,
each the same for every pitch, and one that sees a pitch beside its octaves. The *timbre path* sees a summary of all
pitches and the whole spectrum over some seconds; it says how likely nobody sings, and tells the pitch path what kind of
sound to look for.
"""

from __future__ import annotations

import torch
from torch import nn

from hmm2song.indexing.mix_spectrum import HARMONICS, N_BANDS, PITCHES_MIDI, STEPS_PER_ST

N_PITCH_CHANNELS = 16
N_TIMBRE_CHANNELS = 48
N_SUMMARY_CHANNELS = 6
"""Channels of the pitch path that the timbre path sees, for each pitch."""
HALF_OCTAVE = 6 * STEPS_PER_ST


class SingerNetwork(nn.Module):
    """Log-likelihood of each pitch and of no voice, for each frame."""

    def __init__(self) -> None:
        super().__init__()
        pitch, timbre = N_PITCH_CHANNELS, N_TIMBRE_CHANNELS
        self.stem = nn.Sequential(
            nn.Conv2d(len(HARMONICS), pitch, (3, 5), padding=(1, 2), bias=False), nn.BatchNorm2d(pitch), nn.ReLU()
        )
        self.pitch_path = nn.Sequential(
            _PitchBlock(pitch, (3, 3), (1, 1)),
            _PitchBlock(pitch, (3, 3), (2, 2)),
            _PitchBlock(pitch, (1, 5), (1, HALF_OCTAVE)),
            _PitchBlock(pitch, (3, 3), (4, 1)),
            _PitchBlock(pitch, (3, 3), (8, 2)),
        )
        self.summary = nn.Sequential(nn.Conv2d(pitch, N_SUMMARY_CHANNELS, 1), nn.ReLU())
        n_seen = N_SUMMARY_CHANNELS * len(PITCHES_MIDI) + N_BANDS
        self.timbre_path = nn.Sequential(
            nn.Conv1d(n_seen, timbre, 1, bias=False),
            nn.BatchNorm1d(timbre),
            nn.ReLU(),
            *(_TimbreBlock(timbre, dilation) for dilation in (1, 2, 4, 8)),
        )
        self.colour = nn.Conv1d(timbre, pitch, 1)
        self.no_voice = nn.Conv1d(timbre, 1, 1)
        self.pitch_score = nn.Conv2d(pitch, 1, 1)

    def forward(self, harmonics: torch.Tensor, bands: torch.Tensor) -> torch.Tensor:
        """Hear (n, n_harmonics, n_frames, n_pitches) and (n, n_frames, n_bands): (n, n_frames, n_pitches + 1)."""
        heard = self.pitch_path(self.stem(harmonics))
        summary = self.summary(heard).transpose(2, 3).flatten(1, 2)
        timbre = self.timbre_path(torch.cat((summary, bands.transpose(1, 2)), dim=1))
        coloured = (heard + self.colour(timbre)[..., None]).relu_()
        scores = torch.cat((self.pitch_score(coloured)[:, 0], self.no_voice(timbre).transpose(1, 2)), dim=2)
        return scores.log_softmax(dim=2)


class _PitchBlock(nn.Module):
    def __init__(self, channels: int, kernel: tuple[int, int], dilation: tuple[int, int]) -> None:
        super().__init__()
        padding = tuple(step * (size // 2) for size, step in zip(kernel, dilation, strict=True))
        self.conv = nn.Conv2d(channels, channels, kernel, padding=padding, dilation=dilation)
        # Small at first: as good as normalisation here, which took a quarter of the time.
        nn.init.normal_(self.conv.weight, std=0.5 / (channels * kernel[0] * kernel[1]) ** 0.5)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return self.conv(hidden).add_(hidden).relu_()


class _TimbreBlock(nn.Module):
    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(channels, channels, 5, padding=2 * dilation, dilation=dilation, bias=False)
        self.norm = nn.BatchNorm1d(channels)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return torch.relu(hidden + self.norm(self.conv(hidden)))
