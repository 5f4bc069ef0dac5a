"""Loading audio: every format gives the same tone, and whatever cannot be used is refused with its reason.

All files are written here: with soundfile where it can write them, with PyAV elsewhere.
"""

from __future__ import annotations

import io
import os
import re
import struct
from contextlib import closing
from itertools import islice, pairwise
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from hmm2song import audio
from hmm2song.audio import MAX_HUM_S, SAMPLE_RATE_HZ, decoding, load_audio, resampling
from hmm2song.errors import AudioError

TONE_HZ = 440.0
AMPLITUDE = 0.5


def tone(rate_hz: int, length_s: float = 1.0) -> np.ndarray:
    """A 440 Hz sine of amplitude 0.5, shape (n,)."""
    return AMPLITUDE * np.sin(2 * np.pi * TONE_HZ * np.arange(round(rate_hz * length_s)) / rate_hz)


def assert_is_tone(samples: np.ndarray, length_s: float = 1.0, amplitude: float = AMPLITUDE) -> None:
    """Length within a codec's padding, pitch to 2 Hz and amplitude to 6 % away from the ends."""
    assert samples.dtype == np.float32 and samples.ndim == 1 and samples.flags.c_contiguous
    assert abs(len(samples) / SAMPLE_RATE_HZ - length_s) < 0.15
    middle = samples[len(samples) // 4 : len(samples) // 4 + SAMPLE_RATE_HZ // 2].astype(np.float64)
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle))))
    assert abs(spectrum.argmax() * SAMPLE_RATE_HZ / len(middle) - TONE_HZ) <= 2.0
    assert np.sqrt(2 * np.mean(middle**2)) == pytest.approx(amplitude, rel=0.06)


def encode(target, samples: np.ndarray, rate_hz: int, codec: str, container_format: str | None = None) -> None:
    """Write (n,) or (n, 2) samples with FFmpeg, into a path or a file object."""
    channels = samples[:, None] if samples.ndim == 1 else samples
    layout = "mono" if channels.shape[1] == 1 else "stereo"
    with av.open(target, "w", format=container_format) as container:
        stream = container.add_stream(codec, rate=rate_hz, layout=layout, bit_rate=128_000)
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(channels.T, dtype=np.float32), format="fltp", layout=layout
        )
        frame.sample_rate, frame.pts = rate_hz, 0
        cutter = av.AudioResampler(format=stream.codec_context.format, frame_size=stream.codec_context.frame_size)
        for piece in [*cutter.resample(frame), *cutter.resample(None)]:
            container.mux(stream.encode(piece))
        container.mux(stream.encode(None))


class Pipe(io.RawIOBase):
    """A target that cannot seek back, so that the muxer cannot write the length into the header."""

    def __init__(self) -> None:
        self.content = bytearray()

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def write(self, data) -> int:
        self.content += bytes(data)
        return len(data)


@pytest.fixture
def refuse_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make reading any sample fail the test."""

    def fail(*args, **kwargs):
        raise AssertionError("samples were decoded")

    monkeypatch.setattr(soundfile.SoundFile, "read", fail)
    monkeypatch.setattr(decoding, "_ffmpeg_frames", fail)


CODECS = {
    ".m4a": "aac", ".mp4": "aac", ".aac": "aac", ".3gp": "aac", ".mov": "alac", ".webm": "libopus", ".oga": "libopus",
    ".ogv": "libopus", ".mka": "flac", ".mkv": "libmp3lame", ".flv": "libmp3lame", ".avi": "mp2", ".mp2": "mp2",
    ".mpg": "mp2", ".caf": "pcm_s16be", ".w64": "pcm_s16le", ".wma": "wmav2", ".wmv": "wmav2", ".wv": "wavpack",
    ".tta": "tta", ".ac3": "ac3", ".mp3": "libmp3lame", ".ogg": "libopus",
}  # fmt: skip
"""What FFmpeg writes into which files; soundfile writes the others. (A long OGG of soundfile's ends the process.)"""
RATE_HZ = 48000


def write(path: Path, samples: np.ndarray, rate_hz: int = RATE_HZ) -> Path:
    if path.suffix in CODECS:
        encode(str(path), samples, rate_hz, CODECS[path.suffix])
    else:
        soundfile.write(path, samples, rate_hz)
    return path


# --- what must load --------------------


@pytest.mark.parametrize(
    ("suffix", "subtype", "rate_hz"),
    [
        *((".wav", "PCM_16", rate_hz) for rate_hz in (8000, 11025, 16000, 44100, 48000, 96000, 192000)),
        *((".wav", subtype, 22050) for subtype in ("PCM_U8", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW")),
        *((".wav", subtype, 44100) for subtype in ("IMA_ADPCM", "MS_ADPCM")),
        (".flac", "PCM_16", 44100), (".flac", "PCM_24", 8000), (".aiff", "PCM_16", 44100),
        (".ogg", "VORBIS", 44100), (".ogg", "OPUS", 48000), (".mp3", "MPEG_LAYER_III", 44100),
    ],
)  # fmt: skip
def test_formats_written_by_libsndfile(tmp_path: Path, suffix: str, subtype: str, rate_hz: int) -> None:
    soundfile.write(tmp_path / f"hum{suffix}", tone(rate_hz), rate_hz, subtype=subtype)
    assert_is_tone(load_audio(str(tmp_path / f"hum{suffix}")))


@pytest.mark.parametrize("suffix", CODECS)
@pytest.mark.parametrize("n_channels", [1, 2])
def test_formats_of_ffmpeg(tmp_path: Path, suffix: str, n_channels: int) -> None:
    samples = np.repeat(tone(RATE_HZ)[:, None], n_channels, axis=1)
    assert_is_tone(load_audio(write(tmp_path / f"hum{suffix}", samples)))


def test_integer_pcm_of_64_bits(tmp_path: Path) -> None:
    data = (tone(8000) * 2.0**63).astype("<i8").tobytes()
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, 8000, 64000, 8, 64)
    header = struct.pack("<4sI4s", b"RIFF", 36 + len(data), b"WAVE") + form + struct.pack("<4sI", b"data", len(data))
    (tmp_path / "hum.wav").write_bytes(header + data)
    assert_is_tone(load_audio(tmp_path / "hum.wav"))


def test_content_counts_not_the_ending(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "hum.raw", tone(16000), 16000, format="WAV")
    encode(str(tmp_path / "other.wav"), tone(44100), 44100, "aac", "mp4")
    assert_is_tone(load_audio(tmp_path / "hum.raw"))
    assert_is_tone(load_audio(tmp_path / "other.wav"))


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "int32", "float16", "float32", "float64"])
@pytest.mark.parametrize("shape", ["(n,)", "(n, 1)", "(n, 2)"])
def test_arrays_as_the_microphone_gives_them(dtype: str, shape: str) -> None:
    samples = tone(48000)
    if not dtype.startswith("float"):
        samples = np.round(samples * np.iinfo(dtype).max / (2 if dtype == "uint8" else 1))
        samples = samples + 128 if dtype == "uint8" else samples
    samples = samples.astype(dtype)
    if shape != "(n,)":
        samples = np.repeat(samples[:, None], int(shape[4]), axis=1)
    assert_is_tone(load_audio((48000, samples)))


def test_a_file_and_its_array_give_the_same_in_either_order(tmp_path: Path) -> None:
    samples = np.round(tone(44100) * 32767).astype(np.int16)
    loaded = load_audio(write(tmp_path / "hum.wav", samples, 44100))
    for pair in ((44100, samples), (samples, 44100)):
        np.testing.assert_array_equal(load_audio(pair), loaded)


def test_16_khz_passes_unchanged_and_is_copied() -> None:
    samples = tone(SAMPLE_RATE_HZ).astype(np.float32)
    loaded = load_audio((SAMPLE_RATE_HZ, samples))
    np.testing.assert_array_equal(loaded, samples)
    assert not np.shares_memory(loaded, samples)


def test_nothing_is_normalised() -> None:
    assert not load_audio((44100, np.zeros(44100, np.int16))).any()
    assert not load_audio((8000, np.full(8000, 128, np.uint8))).any()
    assert_is_tone(load_audio((44100, tone(44100) * 0.001)), amplitude=0.001 * AMPLITUDE)


@pytest.mark.parametrize("rate_hz", [4000, 16000, 44100, 192000, 384000])
@pytest.mark.parametrize("n_samples", [1, 2, 3])
def test_a_single_sample_stays_at_least_one(rate_hz: int, n_samples: int) -> None:
    loaded = load_audio((rate_hz, np.full(n_samples, 0.25)))
    assert 1 <= len(loaded) <= 12 and loaded.dtype == np.float32
    assert 0.1 < loaded[0] < 0.5


# --- channels --------------------


@pytest.mark.parametrize(
    ("gains", "amplitude"),
    [((1, 0), 0.25), ((1,) * 6, 0.5), ((0, 0, 1, 0, 0, 0), 0.5), ((1, -1), 0.5), ((1, -0.9), 0.5)],
    ids=["averaged", "six", "one of six", "opposite", "nearly opposite"],
)
def test_channels_are_averaged_unless_they_cancel(gains: tuple[float, ...], amplitude: float) -> None:
    assert_is_tone(load_audio((44100, np.outer(tone(44100), gains))), amplitude=amplitude)


@pytest.mark.parametrize(
    ("codec", "form", "rates_hz"),
    [
        ("libmp3lame", "mp3", (44100, 44100, 22050)),
        ("aac", "adts", (44100, 44100, 44100)),
        ("libopus", "ogg", 3 * (RATE_HZ,)),
    ],
)
def test_channels_and_rate_may_change_on_the_way(
    tmp_path: Path, codec: str, form: str, rates_hz: tuple[int, ...]
) -> None:
    """Files joined end to end, as from a recorder that was plugged in while it ran."""
    path = tmp_path / "hum"
    with path.open("wb") as joined:
        for rate_hz, n_channels in zip(rates_hz, (1, 2, 1), strict=True):
            part = io.BytesIO()
            encode(part, np.repeat(tone(rate_hz)[:, None], n_channels, axis=1), rate_hz, codec, form)
            joined.write(part.getvalue())
    loaded = load_audio(path)
    assert len(loaded) / SAMPLE_RATE_HZ == pytest.approx(3.0, abs=0.3)
    for start_s in (0.25, 1.3, 2.35):
        part = loaded[round(start_s * SAMPLE_RATE_HZ) :][: SAMPLE_RATE_HZ // 2]
        assert np.sqrt(2 * np.mean(part**2)) == pytest.approx(AMPLITUDE, rel=0.06)
    stereo = np.concatenate(list(audio.stereo_blocks(path, SAMPLE_RATE_HZ)))
    assert len(stereo) == pytest.approx(len(loaded), abs=5)
    assert stereo[:, 0] == pytest.approx(stereo[:, 1], abs=1e-3)


@pytest.mark.parametrize("damaged", [0, 1, 2])
def test_streams_of_an_ogg_file_that_cannot_be_read_do_not_cost_the_others(tmp_path: Path, damaged: int) -> None:
    path = tmp_path / "hum.ogg"
    part = io.BytesIO()
    encode(part, tone(RATE_HZ)[:, None], RATE_HZ, "libopus", "ogg")
    parts = 3 * [part.getvalue()]
    parts[damaged] = parts[damaged][:40]
    path.write_bytes(b"".join(parts))
    loaded = load_audio(path)
    assert len(loaded) / SAMPLE_RATE_HZ == pytest.approx(2.0, abs=0.2)
    assert np.sqrt(2 * np.mean(loaded**2)) == pytest.approx(AMPLITUDE, rel=0.1)
    path.write_bytes(b"".join(3 * [parts[damaged]]))
    with pytest.raises(AudioError, match="is damaged"):
        load_audio(path)


def test_times_without_packets_become_silence(tmp_path: Path) -> None:
    write(tmp_path / "whole.webm", tone(RATE_HZ, 3.0))
    with av.open(str(tmp_path / "whole.webm")) as whole, av.open(str(tmp_path / "gap.webm"), "w") as gap:
        stream = gap.add_stream_from_template(whole.streams.audio[0])
        for packet in whole.demux(whole.streams.audio[0]):
            if packet.dts is not None and not 1.0 <= packet.pts * packet.time_base < 2.0:
                packet.stream = stream
                gap.mux(packet)
    loaded = load_audio(tmp_path / "gap.webm")
    assert len(loaded) / SAMPLE_RATE_HZ == pytest.approx(3.0, abs=0.1)
    level = [np.abs(loaded[round(s * SAMPLE_RATE_HZ) :][:1600]).max() for s in (0.5, 1.2, 1.7, 2.5)]
    assert level == pytest.approx([AMPLITUDE, 0.0, 0.0, AMPLITUDE], abs=0.06)


def numbered(page: bytes, number: int) -> bytes:
    """Return an Ogg page with another number; only the first page begins a stream."""
    flags = page[5] & ~2 if number else page[5]
    page = page[:5] + bytes([flags]) + page[6:18] + struct.pack("<II", number, 0) + page[26:]
    checksum = 0
    for byte in page:
        checksum ^= byte << 24
        for _ in range(8):
            checksum = (checksum << 1) ^ (0x104C11DB7 if checksum & 0x80000000 else 0)
    return page[:22] + struct.pack("<I", checksum) + page[26:]


def test_a_vorbis_file_whose_header_comes_twice_is_read(tmp_path: Path) -> None:
    path = tmp_path / "hum.ogg"
    soundfile.write(path, 0.3 * tone(RATE_HZ), RATE_HZ, subtype="VORBIS")
    expected, whole = load_audio(path), path.read_bytes()
    starts = [place.start() for place in re.finditer(b"OggS\0", whole)]
    pages = [whole[begin:end] for begin, end in pairwise([*starts, len(whole)])]
    pages[2:2] = pages[:2]
    path.write_bytes(b"".join(numbered(page, number) for number, page in enumerate(pages)))
    with pytest.raises(av.FFmpegError):
        av.open(path)
    heard = load_audio(path)  # FFmpeg makes a Vorbis file a little too short
    assert heard[: len(expected) - 100] == pytest.approx(expected[:-100], abs=0.01)


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.mp3", "a.m4a", "a.ogg", "a.webm"])
def test_decoding_starts_at_any_place_without_reading_up_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    silence = np.zeros(round(30.5 * RATE_HZ))
    path = write(tmp_path / name, np.concatenate([silence, tone(RATE_HZ), silence]))
    decode, decoded_s = decoding._ffmpeg_frames, []

    def counting_decode(*args):
        for frame in decode(*args):
            decoded_s.append(frame.samples / frame.sample_rate)
            yield frame

    monkeypatch.setattr(decoding, "_ffmpeg_frames", counting_decode)
    with closing(audio.stereo_blocks(path, SAMPLE_RATE_HZ, from_s=30.0)) as blocks:
        heard = np.concatenate(list(islice(blocks, 100)))[:, 0]
    assert sum(decoded_s) < 10.0
    (voiced,) = np.nonzero(np.abs(heard) > AMPLITUDE / 4)
    assert voiced[[0, -1]] / SAMPLE_RATE_HZ == pytest.approx([0.5, 1.5], abs=0.15)
    with pytest.raises(AudioError):
        list(audio.stereo_blocks(path, SAMPLE_RATE_HZ, from_s=90.0))


# --- length and size --------------------


@pytest.mark.parametrize("name", ["long.wav", "long.flac", "long.m4a", "long.webm"])
def test_too_long_a_recording_is_refused_by_its_header(tmp_path: Path, refuse_decoding: None, name: str) -> None:
    with pytest.raises(AudioError, match=rf"'{name}' lasts 4\.\d s; at most 3 s"):
        load_audio(write(tmp_path / name, tone(RATE_HZ, 4.0)), max_s=3.0)


@pytest.mark.parametrize("name", ["long.mp3", "long.aac", "live.webm", "streamed.flac"])
def test_formats_without_length_are_decoded_no_further_than_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    path, samples = tmp_path / name, tone(RATE_HZ, 20.0)
    if name == "live.webm":
        pipe = Pipe()
        encode(pipe, samples, RATE_HZ, "libopus", "webm")
        path.write_bytes(pipe.content)
        with av.open(str(path)) as container:
            assert container.duration is None
    else:
        write(path, samples)
    if name == "streamed.flac":  # as an encoder writes it into a pipe: its header says "unknown length"
        content = bytearray(path.read_bytes())
        content[21] &= 0xF0  # total samples: 36 bits, from the middle of byte 21 on
        content[22:26] = bytes(4)
        path.write_bytes(content)
        assert soundfile.info(path).frames == decoding.UNKNOWN_FRAMES
    assert_is_tone(load_audio(path), 20.0)

    feed, heard_s = resampling._fed, []

    def counting_feed(stream, samples, last=False):
        heard_s.append(len(samples) / RATE_HZ)
        return feed(stream, samples, last)

    monkeypatch.setattr(resampling, "_fed", counting_feed)
    with pytest.raises(AudioError, match="more than the 3 s"):
        load_audio(path, max_s=3.0)
    assert sum(heard_s) <= 3.0 + resampling.LENGTH_TOLERANCE_S


@pytest.mark.parametrize("claimed", [0, 0xFFFFFFFF])
def test_wav_whose_recorder_never_wrote_its_length(tmp_path: Path, claimed: int) -> None:
    path = write(tmp_path / "hum.wav", tone(44100), 44100)
    content = bytearray(path.read_bytes())
    content[4:8] = content[40:44] = struct.pack("<I", claimed)
    path.write_bytes(content)
    assert_is_tone(load_audio(path))


def test_the_limit_is_accepted_with_a_codecs_padding_and_can_be_raised(tmp_path: Path) -> None:
    assert len(load_audio((8000, np.zeros(round(8000 * MAX_HUM_S), np.int16)))) == SAMPLE_RATE_HZ * MAX_HUM_S
    assert_is_tone(load_audio(write(tmp_path / "hum.m4a", tone(16000, 3.0), 16000), max_s=3.0), 3.0)
    samples = np.zeros(8000 * 62, np.int16)
    with pytest.raises(AudioError, match=r"the recording lasts 62\.0 s; at most 60 s"):
        load_audio((8000, samples))
    assert len(load_audio((8000, samples), max_s=120.0)) == 62 * SAMPLE_RATE_HZ


def test_a_100_mb_file_is_refused_unopened(tmp_path: Path, refuse_decoding: None) -> None:
    path = write(tmp_path / "big.wav", tone(16000))
    os.truncate(path, 100 * 10**6)  # sparse: takes no room
    with pytest.raises(AudioError, match=r"'big\.wav' has 95\.4 MiB; at most 50\.0 MiB"):
        load_audio(path)


def test_the_limit_of_bytes_can_be_changed(tmp_path: Path) -> None:
    path = write(tmp_path / "hum.wav", tone(16000), 16000)
    size = path.stat().st_size
    assert_is_tone(load_audio(path, max_bytes=size))
    with pytest.raises(AudioError, match="MiB are accepted"):
        load_audio(path, max_bytes=size - 1)


# --- damage --------------------


@pytest.mark.parametrize("name", ["hum.wav", "hum.flac", "hum.mp3", "hum.ogg", "hum.webm"])
def test_a_truncated_file_gives_what_is_there(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, tone(RATE_HZ, 10.0))
    os.truncate(path, round(path.stat().st_size * 0.7))
    loaded = load_audio(path)
    assert 4.0 < len(loaded) / SAMPLE_RATE_HZ < 8.0
    assert_is_tone(loaded[: 2 * SAMPLE_RATE_HZ], 2.0)


def test_damage_in_the_middle_of_a_webm_is_skipped(tmp_path: Path) -> None:
    path = write(tmp_path / "hum.webm", tone(RATE_HZ, 10.0))
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 500] = np.random.default_rng(0).bytes(500)
    path.write_bytes(content)
    assert_is_tone(load_audio(path)[: 4 * SAMPLE_RATE_HZ], 4.0)


@pytest.mark.parametrize(
    ("name", "n_bytes"), [("a.wav", 44), ("a.wav", 20), ("a.ogg", 60), ("a.mp3", 3), ("a.m4a", 4000)]
)
def test_truncated_to_nothing(tmp_path: Path, name: str, n_bytes: int) -> None:
    path = write(tmp_path / name, tone(RATE_HZ))  # of m4a, the index is written last
    os.truncate(path, n_bytes)
    with pytest.raises(AudioError, match="no sound that can be decoded|not audio that can be read, or is damaged"):
        load_audio(path)


@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
def test_samples_that_are_no_numbers_are_refused(tmp_path: Path, subtype: str) -> None:
    samples = tone(44100)
    samples[[3, 30_000]] = np.nan
    samples[40_000] = -np.inf
    soundfile.write(tmp_path / "hum.wav", samples, 44100, subtype=subtype)
    with pytest.raises(AudioError, match=r"'hum\.wav' holds samples that are not finite.*first within 0\.0 s"):
        load_audio(tmp_path / "hum.wav")
    for array in (samples, np.array([0.0, 1e300, -1e20, 0.5])):  # too large for float32
        with pytest.raises(AudioError, match="the recording holds samples that are not finite"):
            load_audio((44100, array))


# --- what is no recording --------------------


@pytest.mark.parametrize(
    "content",
    [
        b"these are words, not sounds\n" * 500,
        b"\x89PNG\r\n\x1a\n" + bytes(2000),
        np.random.default_rng(3).bytes(30_000),
    ],
)
def test_not_audio(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "hum.wav").write_bytes(content)
    with pytest.raises(AudioError, match=r"'hum\.wav' is not audio that can be read.*; use WAV"):
        load_audio(tmp_path / "hum.wav")


def test_video_without_sound(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "mute.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        container.mux([*stream.encode(av.VideoFrame(32, 32, "yuv420p")), *stream.encode(None)])
    with pytest.raises(AudioError, match=r"'mute\.mp4' holds no sound, only video"):
        load_audio(tmp_path / "mute.mp4")


def test_unknown_codec(tmp_path: Path) -> None:
    path = write(tmp_path / "hum.webm", tone(RATE_HZ))
    path.write_bytes(path.read_bytes().replace(b"A_OPUS", b"A_ZZZZ"))
    with pytest.raises(AudioError, match="coded in a way that cannot be decoded"):
        load_audio(path)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("list.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:1,\n{}\n#EXT-X-ENDLIST\n"),
        ("list.ffconcat", "ffconcat version 1.0\nfile '{}'\n"),
        ("list.m3u", "{}\n"),
    ],
)
def test_playlists_are_not_followed(tmp_path: Path, name: str, text: str) -> None:
    path = write(tmp_path / "hum.aac", tone(RATE_HZ))
    (tmp_path / name).write_text(text.format(path))
    with pytest.raises(AudioError, match="not audio that can be read"):
        load_audio(tmp_path / name)


@pytest.mark.parametrize("address", ["http://127.0.0.1:9/hum.mp3", "https://x/y.mp3", "ftp://x/y.wav", "file:///y.wav"])
def test_addresses_are_not_opened(address: str) -> None:
    for source in (address, Path(address)):
        with pytest.raises(AudioError, match="addresses are not opened"):
            load_audio(source)


@pytest.mark.parametrize("prefix", ["concat:", "data:audio/wav;base64,", "subfile,,start,0,end,0,,:", "pipe:"])
def test_protocols_of_ffmpeg_are_plain_file_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prefix: str) -> None:
    write(tmp_path / "hum.wav", tone(16000))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AudioError, match="there is no file|addresses are not opened"):
        load_audio(f"{prefix}hum.wav")


def test_pipes_and_devices_are_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")  # opening it would wait for ever
    for path in (tmp_path / "pipe.wav", Path(os.devnull)):
        with pytest.raises(AudioError, match="not a regular file"):
            load_audio(path)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("a\0b.wav", "no possible file name"),
        ("x" * 5000, "cannot be opened"),
        (None, "no recording"),
        ("", "file name is empty"),
        (3.5, "not as float"),
        ((16000,), r"\(sample_rate_hz, NumPy array\)"),
        ((16000, None), "NoneType"),
        ((16000, np.zeros(0)), r"empty \(array of shape \(0,\)\)"),
        ((16000, np.zeros((7, 0))), r"empty \(array of shape \(7, 0\)\)"),
        ((16000, np.zeros((2, 3, 4))), r"got \(2, 3, 4\)"),
        ((16000, np.array(1.0)), r"got \(\)"),
        ((16000, np.zeros((2, 16000))), "16000 channels"),
        ((16000, np.zeros(5, np.int64)), "type int64"),
        ((16000, np.zeros(5, np.complex64)), "type complex64"),
        ((16000, np.zeros(5, bool)), "type bool"),
        ((16000, np.array(["a"])), "no known full scale"),
        ((0, np.zeros(5)), "claims 0 samples per second"),
        ((3999, np.zeros(5)), "claims 3999 "),
        ((10**9, np.zeros(5)), r"claims 1e\+09 "),
        ((float("nan"), np.zeros(5)), "claims nan "),
    ],
)
def test_arguments_that_are_no_recording(source: object, message: str) -> None:
    with pytest.raises(AudioError, match=message):
        load_audio(source)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("missing.wav", "there is no file"),
        ("empty.wav", r"is empty \(0 bytes\)"),
        ("mute.wav", "no sound that can be decoded"),
        ("words.wav", "is not audio"),
        ("long.wav", "at most 1 s"),
        ("folder", "is a folder"),
    ],
)
def test_messages_name_the_file_but_not_its_folder(tmp_path: Path, name: str, reason: str) -> None:
    home = tmp_path / "private"
    (home / "folder").mkdir(parents=True)
    (home / "empty.wav").touch()
    (home / "words.wav").write_text("words")
    write(home / "mute.wav", np.zeros(0))
    write(home / "long.wav", np.zeros(3 * RATE_HZ))
    with pytest.raises(AudioError, match=f"'{name}'.*{reason}|{reason}.*'{name}'") as refused:
        load_audio(home / name, max_s=1.0)
    assert "private" not in str(refused.value)
