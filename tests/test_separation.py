"""Separation: what a backend promises, checked with models whose right answer is known.

The song is a voice (a tone of 330 Hz that comes and goes) over an accompaniment (a steady tone of 3 kHz), so that a
filter separates it. The ONNX models are such filters, made by tests/onnx_models.py.
"""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import soundfile
from onnx_models import write_model
from script_modules import loaded_script
from test_hub import COMMIT, REPOSITORY, StandIn, real_client

from hmm2song.audio import loading, stereo_blocks
from hmm2song.errors import AudioError, SeparationError, SeparatorUnavailableError
from hmm2song.indexing.separation import segmentwise
from hmm2song.indexing.separation.onnx_backend import HOP, N_BINS, N_FFT, RATE_HZ, OnnxSeparator, spectrogram, waveform
from hmm2song.indexing.separation.segmentwise import overlap_add, separate_in_segments
from hmm2song.indexing.separation.separation import open_separator
from hmm2song.indexing.separation.voice_check import VoiceCheck

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = ROOT / "scripts" / "separate.py"
VOICE_HZ, BAND_HZ, SPLIT_HZ = 330.0, 3000.0, 1000.0
SEGMENT = 16 * HOP
N_SOURCES = 4


def voice_tone(length_s: float = 2.0, rate_hz: int = RATE_HZ) -> np.ndarray:
    """A tone that comes and goes twice a second, (n,)."""
    time_s = np.arange(round(length_s * rate_hz)) / rate_hz
    return 0.3 * np.sin(2 * np.pi * VOICE_HZ * time_s) * np.sin(2 * np.pi * time_s) ** 2


def band_tone(length_s: float = 2.0, rate_hz: int = RATE_HZ) -> np.ndarray:
    return 0.2 * np.sin(2 * np.pi * BAND_HZ * np.arange(round(length_s * rate_hz)) / rate_hz)


def write_song(file: Path, length_s: float = 2.0, rate_hz: int = RATE_HZ) -> Path:
    both = voice_tone(length_s, rate_hz) + band_tone(length_s, rate_hz)
    soundfile.write(file, np.stack([both, 0.5 * both], axis=1), rate_hz, subtype="FLOAT")
    return file


def filter_model(file: Path, passed: float = 1.0) -> Path:
    """An HTDemucs-like model: the voice is ``passed`` times what lies below 1 kHz, the other sources are the mix."""
    n_hops = SEGMENT // HOP
    mask = np.ones((1, N_SOURCES, 1, N_BINS, 1))
    mask[0, 3, 0] = passed * (np.arange(N_BINS) * RATE_HZ / N_FFT < SPLIT_HZ)[:, None]
    gains = np.ones((1, N_SOURCES, 1, 1))
    gains[0, 3] = 0.0
    return write_model(
        file,
        [
            ((1, 2, SEGMENT), gains, (1, N_SOURCES, 2, SEGMENT)),
            ((1, 4, N_BINS, n_hops), mask, (1, N_SOURCES, 4, N_BINS, n_hops)),
        ],
    )


def gain_model(file: Path, gain: float) -> Path:
    """A model without spectrogram whose voice is the mix times ``gain``."""
    gains = np.full((1, N_SOURCES, 1, 1), 0.1)
    gains[0, 3] = gain
    return write_model(file, [((1, 2, SEGMENT), gains, (1, N_SOURCES, 2, SEGMENT))])


class Stub:
    """A model made of a function; it counts its calls."""

    rate_hz = RATE_HZ

    def __init__(self, function, segment: int = SEGMENT, stride: int | None = None) -> None:
        self.segment_frames, self.stride_frames = segment, stride or segment * 3 // 4
        self.function, self.n_calls = function, 0

    def voice(self, mix: np.ndarray) -> np.ndarray:
        assert mix.shape == (self.segment_frames, 2) and mix.dtype == np.float32
        self.n_calls += 1
        return self.function(mix)


def lowpass(mix: np.ndarray) -> np.ndarray:
    bins = np.fft.rfft(mix, axis=0)
    bins[np.fft.rfftfreq(len(mix), 1 / RATE_HZ) > SPLIT_HZ] = 0
    return np.fft.irfft(bins, len(mix), axis=0).astype(np.float32)


def read(file: Path) -> np.ndarray:
    samples, rate_hz = soundfile.read(file, always_2d=True)
    assert rate_hz == RATE_HZ
    return samples


def rms(samples: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(samples))))


# --- decoding ---


@pytest.mark.parametrize(("name", "rate_hz"), [("a.wav", 44100), ("a.flac", 48000), ("a.wav", 8000)])
def test_stereo_stays_stereo_at_any_rate(tmp_path: Path, name: str, rate_hz: int) -> None:
    both = np.stack([voice_tone(1, rate_hz), -0.5 * voice_tone(1, rate_hz)], axis=1)
    soundfile.write(tmp_path / name, both, rate_hz)
    shares: list[float] = []
    samples = np.concatenate(list(stereo_blocks(tmp_path / name, RATE_HZ, shares.append)))
    assert samples.shape == (RATE_HZ, 2) and samples.dtype == np.float32
    expected = voice_tone(1)
    assert np.abs(samples[:, 0] - expected).max() < 0.01
    assert np.abs(samples[:, 1] + 0.5 * expected).max() < 0.01
    assert shares == sorted(shares) and shares[-1] == 1.0


def test_surround_is_averaged_into_both_sides(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.tile([0.0, 0.0, 0.6, 0.0, 0.0, 0.0], (100, 1)), RATE_HZ)
    assert np.concatenate(list(stereo_blocks(tmp_path / "a.wav", RATE_HZ))) == pytest.approx(0.1, abs=1e-4)


def test_a_recording_on_a_failing_disk_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object) -> Iterator[None]:
        raise OSError(5, "Input/output error")
        yield

    monkeypatch.setattr(loading, "file_blocks", fail)
    with pytest.raises(AudioError, match=r"song\.wav.*Input/output error"):
        separate_in_segments(Stub(lowpass), "stub", write_song(tmp_path / "song.wav"), tmp_path / "out")


# --- overlapping segments ---


def in_blocks(mix: np.ndarray, length: int) -> Iterator[np.ndarray]:
    return (mix[start : start + length] for start in range(0, len(mix), length))


@pytest.mark.parametrize("n_frames", [1, 5, 99, 100, 101, 175, 176, 1000, 1037])
def test_an_identity_gives_back_what_came(n_frames: int) -> None:
    mix = np.random.default_rng(n_frames).uniform(0.1, 1, (n_frames, 2)).astype(np.float32)
    for stride in (75, 100, 50, 7):
        pieces = list(overlap_add(in_blocks(mix, 13), Stub(lambda mix: mix, 100, stride)))
        assert np.array_equal(np.concatenate([piece for piece, _ in pieces]), mix)
        assert np.concatenate([voice for _, voice in pieces]) == pytest.approx(mix, abs=1e-5)


@pytest.mark.parametrize("n_frames", [40, 100, 390, 1000])
def test_segments_are_weighted_as_in_demucs(n_frames: int) -> None:
    """Against the same rule written without streaming, with a model whose answer depends on where it looks."""
    mix = np.random.default_rng(0).uniform(0.1, 1, (n_frames, 2)).astype(np.float32)
    slope = np.linspace(0, 1, 100)[:, None]
    triangle = np.concatenate([np.arange(1, 51), np.arange(50, 0, -1)])[:, None] / 50
    summed, weights = np.zeros((n_frames, 2)), np.zeros((n_frames, 1))
    for offset in range(0, n_frames, 75):
        n = min(100, n_frames - offset)
        start = offset - (100 - n) // 2
        padded = np.pad(mix, ((100, 100), (0, 0)))[start + 100 : start + 200]
        estimate = (padded * slope)[offset - start : offset - start + n]
        summed[offset : offset + n] += triangle[:n] * estimate
        weights[offset : offset + n] += triangle[:n]
    pieces = overlap_add(in_blocks(mix, 64), Stub(lambda mix: (mix * slope).astype(np.float32), 100, 75))
    assert np.concatenate([voice for _, voice in pieces]) == pytest.approx(summed / weights, abs=1e-5)


def test_only_a_few_segments_are_held() -> None:
    n_read = n_done = 0

    def endless() -> Iterator[np.ndarray]:
        nonlocal n_read
        while True:
            n_read += 10
            yield np.ones((10, 2), np.float32)

    for mix, _ in overlap_add(endless(), Stub(lambda mix: mix, 100)):
        n_done += len(mix)
        assert n_read - n_done <= 200
        if n_done > 10_000:
            break


def test_silence_needs_no_model() -> None:
    mix = np.zeros((1000, 2), np.float32)
    mix[820:] = 0.5
    model = Stub(lambda mix: mix, 100)
    voice = np.concatenate([voice for _, voice in overlap_add(in_blocks(mix, 1000), model)])
    assert voice == pytest.approx(mix, abs=1e-6)
    assert model.n_calls == 4  # those that begin at 750, 825, 900 and 975


# --- a recording into a folder ---


def test_voice_and_accompaniment_add_up_to_the_recording(tmp_path: Path) -> None:
    song = write_song(tmp_path / "song.wav")
    shares: list[float] = []
    stems = separate_in_segments(Stub(lowpass), "stub", song, tmp_path / "out" / "song", shares.append)
    voice, rest = read(stems.vocals), read(stems.accompaniment)
    mix, _ = soundfile.read(song)
    assert voice + rest == pytest.approx(mix, abs=2e-4)  # two roundings to 16 bit
    assert rms(voice[:, 0] - voice_tone()) < 0.02 * rms(voice_tone())
    assert rms(rest[:, 0] - band_tone()) < 0.02 * rms(band_tone())
    assert not stems.is_mix and not stems.is_instrumental
    assert stems.voice_db == pytest.approx(20 * np.log10(rms(voice) / rms(mix)), abs=0.1)
    assert soundfile.info(stems.vocals).subtype == "PCM_16"
    assert shares == sorted(shares) and shares[-1] == 1.0
    assert sorted(path.name for path in stems.vocals.parent.iterdir()) == [
        "accompaniment.flac", "separation.json", "vocals.flac"
    ]  # fmt: skip


def test_a_complete_folder_is_returned_as_it_is(tmp_path: Path) -> None:
    song, out, model = write_song(tmp_path / "song.wav"), tmp_path / "out", Stub(lowpass)
    first = separate_in_segments(model, "stub", song, out)
    n_calls = model.n_calls
    assert separate_in_segments(model, "stub", song, out) == first
    assert model.n_calls == n_calls


@pytest.mark.parametrize("change", ["separator", "recording", "shortened", "deleted", "garbled"])
def test_stems_of_something_else_are_made_anew(tmp_path: Path, change: str) -> None:
    song, out, model = write_song(tmp_path / "song.wav"), tmp_path / "out", Stub(lowpass)
    stems = separate_in_segments(model, "stub", song, out)
    n_calls, content = model.n_calls, stems.vocals.read_bytes()
    if change == "recording":
        write_song(song, 1.0)
    elif change == "shortened":
        stems.vocals.write_bytes(content[:1000])
    elif change == "deleted":
        stems.accompaniment.unlink()
    elif change == "garbled":
        (out / "separation.json").write_text('{"separator": "stub"')
    again = separate_in_segments(model, "other" if change == "separator" else "stub", song, out)
    assert model.n_calls > n_calls
    assert (again.vocals.read_bytes() == content) == (change != "recording")


def test_what_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    song, out = write_song(tmp_path / "song.wav"), tmp_path / "out"

    def fail(mix: np.ndarray) -> np.ndarray:
        raise SeparationError("no")

    with pytest.raises(SeparationError):
        separate_in_segments(Stub(fail), "stub", song, out)
    (tmp_path / "broken.mp3").write_bytes(b"\xff\xfb" + bytes(100))
    with pytest.raises(AudioError, match=r"broken\.mp3"):
        separate_in_segments(Stub(lowpass), "stub", tmp_path / "broken.mp3", out)
    assert list(out.iterdir()) == []


def test_leftovers_of_killed_runs_are_removed_in_time(tmp_path: Path) -> None:
    song, out = write_song(tmp_path / "song.wav"), tmp_path / "out"
    old, young = out / f"{segmentwise.PARTIAL_PREFIX}old", out / f"{segmentwise.PARTIAL_PREFIX}young"
    for folder in (old, young):
        folder.mkdir(parents=True)
    os.utime(old, (time.time() - 2 * segmentwise.STALE_S,) * 2)
    separate_in_segments(Stub(lowpass), "stub", song, out)
    assert (old.exists(), young.exists()) == (False, True)


def test_a_place_that_cannot_be_written_ends_the_run(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(SeparatorUnavailableError, match="cannot write"):
        separate_in_segments(Stub(lowpass), "stub", write_song(tmp_path / "song.wav"), tmp_path / "file" / "out")


# --- is it a voice? ---


def figures_of(mix: np.ndarray, voice: np.ndarray, block: int = 5000) -> VoiceCheck:
    check = VoiceCheck(RATE_HZ)
    for start in range(0, len(mix), block):
        check.add(*(np.tile(part[start : start + block, None], 2) for part in (mix, voice)))
    return check


def test_a_real_separation_passes() -> None:
    mix = voice_tone() + band_tone()
    assert figures_of(mix, voice_tone()).verdict() == pytest.approx(
        20 * np.log10(rms(voice_tone()) / rms(mix)), abs=0.01
    )


def test_somebody_singing_alone_passes() -> None:
    noise = 0.01 * np.random.default_rng(0).standard_normal(2 * RATE_HZ)
    assert figures_of(voice_tone() + noise, voice_tone()).verdict() == pytest.approx(0, abs=0.1)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda mix, noise: mix, "copy"),
        (lambda mix, noise: 0.5 * mix, "copy"),
        (lambda mix, noise: -mix, "copy"),
        (lambda mix, noise: np.round(mix * 32768) / 32768, "copy"),
        (lambda mix, noise: 0.5 * mix + 0.02 * noise, "same share"),
        (lambda mix, noise: 0.3 * noise, "noise"),
        (lambda mix, noise: 0 * mix, "silence"),
        (lambda mix, noise: mix * np.nan, "finite"),
    ],
)
def test_what_no_trained_network_returns_is_refused(make, reason: str) -> None:
    mix = voice_tone() + band_tone()
    with pytest.raises(SeparationError, match=reason):
        figures_of(mix, make(mix, np.random.default_rng(0).standard_normal(len(mix)))).verdict()


def test_a_silent_recording_is_refused() -> None:
    with pytest.raises(SeparationError, match="silent"):
        figures_of(np.zeros(1000), np.zeros(1000)).verdict()


# --- none, stems ---


def test_none_returns_the_recording(tmp_path: Path) -> None:
    separator = open_separator("none")
    stems = separator.separate(tmp_path / "song.mp3", tmp_path / "out")
    assert (stems.vocals, stems.accompaniment, stems.is_mix) == (tmp_path / "song.mp3", None, True)
    assert separator.name == "none" and not stems.is_instrumental and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "place", ["song.flac", "song.wav", "song.wav.flac", "song/vocals.wav", "song.wav/vocals.flac", "rock/song.flac"]
)
def test_stems_are_found_by_name(tmp_path: Path, place: str) -> None:
    (tmp_path / "music" / "rock").mkdir(parents=True)
    song = write_song(tmp_path / "music" / "rock" / "song.wav")
    vocals = tmp_path / "stems" / place
    vocals.parent.mkdir(parents=True)
    soundfile.write(vocals, voice_tone(), RATE_HZ)
    (tmp_path / "stems" / "other.flac").write_bytes(b"")
    stems = open_separator(f"stems:{tmp_path / 'stems'}").separate(song, tmp_path / "out")
    assert (stems.vocals, stems.accompaniment, stems.is_mix) == (vocals, None, False)


def test_stems_of_a_separation_are_found_with_their_accompaniment(tmp_path: Path) -> None:
    (tmp_path / "music").mkdir()
    song = write_song(tmp_path / "music" / "song.wav")
    made = separate_in_segments(Stub(lowpass), "stub", song, tmp_path / "stems" / "song.wav")
    found = open_separator(f"stems:{tmp_path / 'stems'}").separate(song, tmp_path / "out")
    assert (found.vocals, found.accompaniment) == (made.vocals, made.accompaniment)


def test_missing_and_unseparated_stems_are_refused(tmp_path: Path) -> None:
    song = write_song(tmp_path / "song.wav")
    (tmp_path / "stems").mkdir()
    separator = open_separator(f"stems:{tmp_path / 'stems'}")
    with pytest.raises(SeparationError, match=r"song\.wav.*no separated voice"):
        separator.separate(song, tmp_path / "out")
    write_song(tmp_path / "stems" / "song.wav")
    with pytest.raises(SeparationError, match="copy"):
        separator.separate(song, tmp_path / "out")
    with pytest.raises(SeparationError, match="its own"):
        open_separator(f"stems:{tmp_path}").separate(song, tmp_path / "out")


def test_other_stems_have_another_name(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "song.flac", voice_tone(), RATE_HZ)
    first = open_separator(f"stems:{tmp_path}").name
    assert open_separator(f"stems:{tmp_path}").name == first
    soundfile.write(tmp_path / "song.flac", 0.5 * voice_tone(), RATE_HZ)
    assert open_separator(f"stems:{tmp_path}").name != first


@pytest.mark.parametrize("spec", ["", "nothing", "stems", "stems:", "stems:no/such/folder", "onnx", "onnx:", "none:x"])
def test_impossible_backends_are_refused(spec: str) -> None:
    with pytest.raises(SeparatorUnavailableError):
        open_separator(spec)


# --- onnx ---


def test_the_spectrogram_is_that_of_torch() -> None:
    torch = pytest.importorskip("torch")
    samples = np.random.default_rng(0).standard_normal((2, 20_000)).astype(np.float32)
    n_hops, edge, window = 20, 3 * HOP // 2, torch.hann_window(N_FFT)
    padding = (edge, edge + n_hops * HOP - 20_000)
    padded = torch.nn.functional.pad(torch.tensor(samples)[None], padding, mode="reflect")[0]
    options = {"n_fft": N_FFT, "hop_length": HOP, "window": window, "normalized": True, "center": True}
    expected = torch.stft(padded, pad_mode="reflect", return_complex=True, **options)[:, :-1, 2 : 2 + n_hops]
    bins = spectrogram(samples)
    assert bins.shape == (2, N_BINS, n_hops) and np.abs(bins - expected.numpy()).max() < 1e-4
    framed = torch.nn.functional.pad(expected, (2, 2, 0, 1))
    back = torch.istft(framed, length=n_hops * HOP + 2 * edge, **options)[:, edge : edge + 20_000]
    assert np.abs(waveform(bins, 20_000) - back.numpy()).max() < 1e-4


@pytest.mark.parametrize("rate_hz", [44100, 22050])
def test_a_filter_separates_the_song(tmp_path: Path, rate_hz: int) -> None:
    song = write_song(tmp_path / "song.wav", rate_hz=rate_hz)
    separator = open_separator(f"onnx:{filter_model(tmp_path / 'model.onnx')}", threads=2)
    stems = separator.separate(song, tmp_path / "out")
    inner = slice(RATE_HZ // 5, -RATE_HZ // 5)
    voice, rest = read(stems.vocals)[inner], read(stems.accompaniment)[inner]
    assert rms(voice[:, 0] - voice_tone()[inner]) < 0.03 * rms(voice_tone())
    assert rms(rest[:, 1] - 0.5 * band_tone()[inner]) < 0.03 * rms(0.5 * band_tone())
    assert separator.name.startswith("onnx-") and len(separator.name) == len("onnx-") + 8


def test_the_name_follows_the_weights(tmp_path: Path) -> None:
    names = [OnnxSeparator.open(str(gain_model(tmp_path / "model.onnx", gain))).name for gain in (0.5, 0.5, 0.4)]
    assert names[0] == names[1] != names[2]


def test_a_model_that_separates_nothing_is_found_out(tmp_path: Path) -> None:
    separator = open_separator(f"onnx:{gain_model(tmp_path / 'model.onnx', 0.5)}")
    with pytest.raises(SeparationError, match=r"song\.wav.*copy"):
        separator.separate(write_song(tmp_path / "song.wav"), tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_an_instrumental_is_marked(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "song.wav", band_tone() + 0.001 * voice_tone(), RATE_HZ, subtype="FLOAT")
    stems = open_separator(f"onnx:{filter_model(tmp_path / 'model.onnx')}").separate(
        tmp_path / "song.wav", tmp_path / "out"
    )
    assert stems.is_instrumental and stems.voice_db < -40
    again = open_separator(f"onnx:{tmp_path / 'model.onnx'}").separate(tmp_path / "song.wav", tmp_path / "out")
    assert again == stems


def test_other_models_and_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "garbage.onnx").write_bytes(b"no model at all" * 100)
    (tmp_path / "empty.onnx").write_bytes(b"")
    shapes = {
        "mono": ((1, 1, SEGMENT), (1, N_SOURCES, 1, SEGMENT)),
        "two": ((1, 2, SEGMENT), (1, 2, 2, SEGMENT)),
        "flat": ((1, SEGMENT), (1, SEGMENT)),
    }
    for name, (in_shape, out_shape) in shapes.items():
        factor = np.ones((1,) * len(out_shape)) if name != "two" else np.ones((1, 2, 1, 1))
        factor = np.ones((1, N_SOURCES, 1, 1)) if name == "mono" else factor
        write_model(tmp_path / f"{name}.onnx", [(in_shape, factor, out_shape)])
    for name in ("garbage", "empty", *shapes):
        with pytest.raises(SeparatorUnavailableError, match=rf"{name}\.onnx"):
            open_separator(f"onnx:{tmp_path / name}.onnx")
    for source in ("no/such/model.onnx", "nothing", "a/b/c"):
        with pytest.raises(SeparatorUnavailableError, match="no model file"):
            open_separator(f"onnx:{source}")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    stand_in = StandIn()
    stand_in.files = {"htdemucs.onnx": gain_model(tmp_path / "hub.onnx", 0.5).read_bytes(), "README.md": b"# Model"}
    with real_client(stand_in.url, tmp_path / "cache", monkeypatch):
        yield stand_in
    stand_in.stop()


@pytest.mark.parametrize("revision", ["", f"@{COMMIT}"])
def test_weights_from_the_hub_also_offline(
    hub: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, revision: str
) -> None:
    name = open_separator(f"onnx:{REPOSITORY}{revision}").name
    assert name == open_separator(f"onnx:{tmp_path / 'hub.onnx'}").name
    assert not any("README" in path for _, path, _ in hub.requests)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert open_separator(f"onnx:{REPOSITORY}{revision}").name == name


def test_what_the_hub_lacks_is_said(hub: StandIn) -> None:
    with pytest.raises(SeparatorUnavailableError, match="no public repository no/such"):
        open_separator("onnx:no/such")
    hub.files |= {"other.onnx": b"x"}
    with pytest.raises(SeparatorUnavailableError, match="holds 2"):
        open_separator(f"onnx:{REPOSITORY}")
    with pytest.raises(SeparatorUnavailableError, match="not a valid"):
        open_separator("onnx:a--b/c..d")


# --- the script ---


@dataclass(frozen=True)
class Run:
    status: int
    output: str
    errors: str


@pytest.fixture
def separate_folder(tmp_path: Path, capsys: pytest.CaptureFixture) -> Iterator[Callable[..., Run]]:
    """Run the script over ``music`` and ``stems`` in ``tmp_path``."""
    with loaded_script("separate") as script:

        def run(*options: str) -> Run:
            status = script.main(["--music", str(tmp_path / "music"), "--out", str(tmp_path / "stems"), *options])
            return Run(status, *capsys.readouterr())

        yield run


def test_a_folder_with_broken_files(tmp_path: Path, separate_folder: Callable[..., Run]) -> None:
    (tmp_path / "music" / "rock").mkdir(parents=True)
    model = filter_model(tmp_path / "model.onnx")
    write_song(tmp_path / "music" / "one.wav")
    write_song(tmp_path / "music" / "rock" / "two.wav", 1.0)
    soundfile.write(tmp_path / "music" / "band.flac", band_tone() + 0.001 * voice_tone(), RATE_HZ)
    (tmp_path / "music" / "broken.mp3").write_bytes(b"\x00" * 1000)
    (tmp_path / "music" / "cover.jpg").write_bytes(b"no recording")
    done = separate_folder("--backend", f"onnx:{model}", "--workers", "2")
    assert done.status == 0, done.errors
    assert "3 of 4 recordings are separated, 1 of them instrumental; 1 skipped" in done.output
    assert "4/4" in done.errors and "Traceback" not in done.errors
    stems = tmp_path / "stems"
    assert {path.parent.relative_to(stems).as_posix() for path in stems.rglob("vocals.flac")} == {
        "one.wav", "rock/two.wav", "band.flac"
    }  # fmt: skip
    with (stems / "skipped.csv").open(encoding="utf-8") as file:
        ((path, reason),) = list(csv.reader(file))[1:]
    assert path == "broken.mp3" and "not audio" in reason
    with (stems / "instrumental.csv").open(encoding="utf-8") as file:
        assert [row[0] for row in list(csv.reader(file))[1:]] == ["band.flac"]
    before = {path: path.stat().st_mtime_ns for path in stems.rglob("*.flac")}
    assert separate_folder("--backend", f"onnx:{model}").status == 0
    assert {path: path.stat().st_mtime_ns for path in stems.rglob("*.flac")} == before


def test_the_script_refuses_what_cannot_work(tmp_path: Path, separate_folder: Callable[..., Run]) -> None:
    for options, reason in [
        (("--backend", "none"), "separates nothing"),
        (("--backend", "onnx:nothing.onnx"), "no folder"),
    ]:
        done = separate_folder(*options)
        assert done.status == 2 and reason in done.errors and len(done.errors.splitlines()) == 1
    (tmp_path / "music").mkdir()
    assert "no recording" in separate_folder("--backend", "onnx:nothing.onnx").errors
    write_song(tmp_path / "music" / "one.wav")
    done = separate_folder("--backend", "onnx:nothing.onnx")
    assert done.status == 2 and "no model file" in done.errors


def test_killed_runs_leave_nothing_that_looks_complete(tmp_path: Path) -> None:
    """The stand-in for a slow model tells when it is at its third segment, and is killed there."""
    song, out = write_song(tmp_path / "song.wav"), tmp_path / "out"
    code = (
        "import sys, time; from pathlib import Path; sys.path.insert(0, sys.argv[1])\n"
        "from hmm2song.indexing.separation.segmentwise import separate_in_segments\n"
        "class Slow:\n"
        "    rate_hz, segment_frames, stride_frames, n_calls = 44100, 16384, 12288, 0\n"
        "    def voice(self, mix):\n"
        "        self.n_calls += 1\n"
        "        if self.n_calls == 3: print('here', flush=True); time.sleep(60)\n"
        "        return 0.5 * mix\n"
        "separate_in_segments(Slow(), 'stub', Path(sys.argv[2]), Path(sys.argv[3]))\n"
    )
    command = [sys.executable, "-c", code, str(ROOT), str(song), str(out)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"here\n"
        process.send_signal(signal.SIGKILL)
    assert [path.name[: len(segmentwise.PARTIAL_PREFIX)] for path in out.iterdir()] == [segmentwise.PARTIAL_PREFIX]
    model = Stub(lowpass)
    stems = separate_in_segments(model, "stub", song, out)
    assert model.n_calls > 3 and json.loads((out / "separation.json").read_text())["duration_s"] == 2.0
    assert len(read(stems.vocals)) == 2 * RATE_HZ
