"""The separation backend ``onnx``: HTDemucs through onnxruntime.

Two kinds of exported models are known, told apart by their inputs:

* with the spectrogram outside: ``mix (1, 2, n)`` and ``spectrogram (1, 4, 2048, n_hops)`` in, a spectrogram
  ``(1, n_sources, 4, 2048, n_hops)`` and a waveform ``(1, n_sources, 2, n)`` out, whose sum is the result;
* with everything inside: ``mix (1, 2, n)`` in, ``(1, n_sources, 2, n)`` out.

Conventions
-----------
* Audio is 44,100 Hz stereo; n is the length of the segments the model was exported for (7.8 s).
* The spectrogram is that of ``demucs/hdemucs.py`` (Defossez 2021): reflected ends, periodic Hann window of 4,096, hop
  1,024, orthonormal, without its last bin; its four channels are left real, left imaginary, right real and imaginary.
* Sources are drums, bass, other, vocals, and any further ones behind.
* Weights are never part of this program. Those of HTDemucs are licensed for personal and research use.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import scipy.fft
from onnxruntime.capi import onnxruntime_pybind11_state as onnxruntime_errors

from hmm2song.catalog.hub import resolve_onnx_file
from hmm2song.errors import HubError, SeparationError, SeparatorUnavailableError
from hmm2song.indexing.separation.segmentwise import separate_in_segments
from hmm2song.indexing.separation.stems import Progress, Stems, weights_digest

RATE_HZ = 44100
N_FFT, HOP = 4096, 1024
N_BINS = N_FFT // 2
"""Bins of the spectrogram; the one at the Nyquist frequency is left out."""
WINDOW_POWER = 1.5
"""Sum of the squared Hann windows over any sample, at four windows per sample."""
EDGE = 3 * HOP // 2
"""Samples reflected before the segment, so that every sample of it lies under four windows."""
VOCALS_SOURCE = 3
OVERLAP = 0.25
"""Share of a segment that it has in common with the next, as in Demucs."""

_RUNTIME_ERRORS = tuple(
    value for value in vars(onnxruntime_errors).values() if isinstance(value, type) and issubclass(value, Exception)
)
"""They have no common root but Exception."""


class OnnxSeparator:
    """Separates with a model of the HTDemucs family, in segments of the length the model was exported for.

    ``label`` is the model's name in messages, ``name`` stands for its weights. SeparatorUnavailableError if its inputs
    and outputs are not those of this family.
    """

    rate_hz = RATE_HZ

    def __init__(self, session: onnxruntime.InferenceSession, label: str, name: str) -> None:
        inputs = {len(value.shape): value for value in session.get_inputs()}
        outputs = {len(value.shape): value for value in session.get_outputs()}
        shapes = [value.shape for value in (*session.get_inputs(), *session.get_outputs())]
        self.name, self._label, self._session = name, label, session
        self._mix, self._spectrogram = inputs.get(3), inputs.get(4)
        self._waveform, self._masked = outputs.get(4), outputs.get(5)
        if not self._fits(len(shapes)):
            raise SeparatorUnavailableError(
                f"{label!r} is not an HTDemucs model: its inputs and outputs have the shapes {shapes}, expected are "
                "(1, 2, n) and (1, 4, 2048, n/1024) in, (1, sources, 4, 2048, n/1024) and (1, sources, 2, n) out"
            )
        self.segment_frames: int = self._mix.shape[2]
        self.stride_frames = int((1 - OVERLAP) * self.segment_frames)

    @classmethod
    def open(cls, source: str, threads: int = 1) -> OnnxSeparator:
        """Load a model from a file, or from a Hub repository ``OWNER/NAME[@REVISION]`` with one ``.onnx`` file."""
        file = _model_file(source)
        try:
            name = f"onnx-{weights_digest([file])}"
        except OSError as error:
            raise SeparatorUnavailableError(f"the model {str(file)!r} cannot be read ({error})") from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # these two only keep memory between segments, and the layouts of the highest level take twice as much: measured
        # 2.4 GB at most and 1.0 GB between segments instead of 4 GB, at the same speed
        options.enable_cpu_mem_arena = options.enable_mem_pattern = False
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        try:
            session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        except _RUNTIME_ERRORS as error:
            raise SeparatorUnavailableError(
                f"{file.name!r} is not a model that onnxruntime can load: {error}"
            ) from error
        return cls(session, file.name, name)

    def separate(self, recording: Path, out: Path, progress: Progress | None = None) -> Stems:
        """Separate a recording; see :class:`hmm2song.indexing.separation.separation.Separator`."""
        return separate_in_segments(self, self.name, recording, out, progress)

    def voice(self, mix: np.ndarray) -> np.ndarray:
        """Return the voice in a mix, both (segment_frames, 2); SeparationError if the model fails."""
        feeds = {self._mix.name: np.ascontiguousarray(mix.T, np.float32)[None]}
        wanted = [self._waveform.name]
        if self._spectrogram is not None:
            feeds[self._spectrogram.name] = _as_channels(spectrogram(mix.T))[None]
            wanted.append(self._masked.name)
        try:
            results = self._session.run(wanted, feeds)
        except _RUNTIME_ERRORS as error:
            raise SeparationError(f"the model {self._label!r} failed: {error}") from error
        voice = results[0][0, VOCALS_SOURCE]
        if self._spectrogram is not None:
            voice = voice + waveform(_as_complex(results[1][0, VOCALS_SOURCE]), self.segment_frames)
        return voice.T

    def _fits(self, n_values: int) -> bool:
        """Tell whether the model has the inputs and outputs of one of the two kinds, all of fixed shape."""
        mix, inner, wave, outer = self._mix, self._spectrogram, self._waveform, self._masked
        if mix is None or wave is None or (inner is None) != (outer is None):
            return False
        if n_values != (2 if inner is None else 4):
            return False
        n = mix.shape[2]
        if not isinstance(n, int) or mix.shape[1] != 2 or n < N_FFT:
            return False
        n_sources = wave.shape[1]
        if not isinstance(n_sources, int) or n_sources <= VOCALS_SOURCE or list(wave.shape[2:]) != [2, n]:
            return False
        grid = [4, N_BINS, -(-n // HOP)]
        return inner is None or (list(inner.shape[1:]) == grid and list(outer.shape[1:]) == [n_sources, *grid])


def spectrogram(samples: np.ndarray) -> np.ndarray:
    """Return the spectrogram HTDemucs sees, shape (n_channels, 2048, ceil(n / 1024)), complex64.

    ``samples`` have shape (n_channels, n) and are at least as long as the window.
    """
    n = samples.shape[1]
    n_hops = -(-n // HOP)
    padded = np.pad(samples.astype(np.float32), ((0, 0), (EDGE, EDGE + n_hops * HOP - n)), mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, N_FFT, axis=1)[:, ::HOP]
    bins = scipy.fft.rfft(frames * _hann(), axis=2, norm="ortho")
    return bins[:, :, :N_BINS].transpose(0, 2, 1)


def waveform(bins: np.ndarray, n: int) -> np.ndarray:
    """Return the (n_channels, n) samples of a spectrogram, the inverse of :func:`spectrogram`."""
    n_channels, _, n_hops = bins.shape
    # two empty hops on either side take the place of the windows that begin outside the segment
    frames = scipy.fft.irfft(bins.transpose(0, 2, 1), N_FFT, axis=2, norm="ortho").astype(np.float32) * _hann()
    quarters = frames.reshape(n_channels, n_hops, N_FFT // HOP, HOP)
    summed = np.zeros((n_channels, n_hops + N_FFT // HOP - 1, HOP), np.float32)
    for number in range(N_FFT // HOP):
        summed[:, number : number + n_hops] += quarters[:, :, number]
    return summed.reshape(n_channels, -1)[:, EDGE : EDGE + n] / WINDOW_POWER


def _hann() -> np.ndarray:
    """Return the periodic Hann window, which scipy.signal would take long to import for."""
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(N_FFT) / N_FFT)).astype(np.float32)


def _as_channels(bins: np.ndarray) -> np.ndarray:
    """Return complex (2, n_bins, n_hops) as real (4, n_bins, n_hops)."""
    return np.stack([bins.real, bins.imag], axis=1).reshape(4, *bins.shape[1:])


def _as_complex(channels: np.ndarray) -> np.ndarray:
    """Return real (4, n_bins, n_hops) as complex (2, n_bins, n_hops)."""
    return channels[0::2] + 1j * channels[1::2]


def _model_file(source: str) -> Path:
    file = Path(source).expanduser()
    if file.is_file():
        return file
    try:
        return resolve_onnx_file(source)
    except HubError as error:
        raise SeparatorUnavailableError(f"there is no model file {source!r}. As a repository: {error}") from error
