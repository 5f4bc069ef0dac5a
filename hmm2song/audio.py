"""Any recording -> float32 samples: mono at 16 kHz for melodies, stereo at any rate for separators.

Conventions
-----------
* Samples are float32 with full scale at +-1. Nothing is normalised: a quiet hum stays quiet, because
  :mod:`hmm2song.melody.advice` needs to see that.
* Files are opened here, once, and the decoder gets the open file only: libsndfile for wav, flac and aiff, FFmpeg
  through PyAV for all else (mp3, ogg, m4a, webm, ...). No decoder gets a name that could lead it to another file or to
  the network, and FFmpeg may not recognise playlists.
* Everything is decoded in blocks that are resampled at once, so memory depends on the length limit alone.
* A recording may change its sample rate or number of channels on the way.
* Times without any packets inside a container that states times (WebM, MP4, OGG) become silence.
"""

from __future__ import annotations

import io
import math
import mmap
import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
import soundfile
import soxr

from hmm2song.errors import AudioError

if TYPE_CHECKING:
    import av

SAMPLE_RATE_HZ = 16000
"""The pitch tracker's own rate; a melody ends far below its 8 kHz Nyquist frequency."""
MAX_HUM_S = 60.0
"""Longest hum in seconds: 10 s suffice to find a song, and a minute is what people will wait for."""
MAX_FILE_BYTES = 50 * 1024**2
"""Largest file: one minute of 24-bit stereo takes 33 MiB at 96 kHz, and 11 MiB as browsers record it."""
MAX_RECORDING_S = 3600.0
"""Longest song in seconds."""
MAX_RECORDING_BYTES = 2**30
"""Largest song: an hour of CD-quality stereo takes 0.6 GiB uncompressed."""
AUDIO_SUFFIXES = (
    ".flac", ".wav", ".aiff", ".aif", ".aifc", ".wv", ".ape", ".tta", ".caf", ".w64",
    ".ogg", ".opus", ".mp3", ".m4a", ".webm", ".oga", ".mp2", ".aac", ".m4b", ".wma", ".ac3", ".amr", ".mka",
    ".mp4", ".m4v", ".mov", ".3gp", ".3g2", ".mkv", ".avi", ".mpg", ".mpeg", ".flv", ".wmv", ".ogv",
)  # fmt: skip
"""How the names of recordings end, those without loss first; of videos the sound is read."""
LENGTH_TOLERANCE_S = 0.5
"""Codecs pad both ends, so a recording stopped exactly at the limit may come back a little longer."""
MIN_RATE_HZ, MAX_RATE_HZ = 4000, 384_000
"""Sample rates accepted: below 4 kHz the overtones of a voice are gone, above 384 kHz nothing records."""
MAX_CHANNELS = 16
"""Third-order ambisonics has 16; more is a damaged header or an array lying on its side."""
LARGEST_SAMPLE = 2.0**31
"""A float file may hold unscaled 32-bit integers; whatever is larger is damage and would overflow later."""
CANCELLED_POWER_RATIO = 0.05
"""Channels cancel when their mean keeps less than this share of the loudest channel's power (uncorrelated
stereo keeps about 0.5, an inverted copy nothing)."""
BLOCK_FRAMES = 2048
"""Frames decoded at a time: what is lost at most where a damaged file breaks off."""
JOINED_FRAMES = 32768
"""Frames that are resampled at a time."""

FFMPEG_FORMATS = "mov,matroska,ogg,mp3,aac,flac,wav,w64,aiff,caf,asf,amr,avi,mpeg,mpegts,flv,ac3,ape,wv,tta"
"""Demuxers FFmpeg may use; no playlist or script (hls, dash, concat, sdp), which would name more files."""
LIBSNDFILE_STARTS = (b"RIFF", b"RF64", b"FORM", b"fLaC")
"""First bytes of wav, aiff and flac. libsndfile knows more, but prints to stderr about damaged MP3 files."""
MEMORYLESS_SUBTYPES = ("PCM_", "FLOAT", "DOUBLE", "ULAW", "ALAW")
"""soundfile seeks after every block it reads, which garbles codecs that carry state over (MP3, ADPCM)."""
OGG_STREAM_BEGINS = 2
"""Flag of the first page of a stream."""
FORMATS_WITH_TIMES = ("mov", "matroska", "ogg")
"""Containers that state times and the length; in others FFmpeg guesses from the bit rate, sometimes wildly."""
GAP_S = 0.1
"""A longer time without packets is a pause of the recorder, or lost packets; a shorter one may be rounding."""
LONGEST_GAP_S = 600.0
"""A longer one is damage to the times and is closed."""
UNKNOWN_FRAMES = 2**63 - 1
"""What libsndfile says when a header states no length, as in FLAC that was streamed."""
MICROPHONE_TIMEOUT_S = 5.0
READABLE = "WAV, FLAC, MP3, OGG, M4A or WebM"

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]+:/")  # two letters at least: C:/ is a drive


@dataclass(frozen=True, eq=False)
class Block:
    """Decoded frames: ``samples`` has shape (n, n_channels), float32, full scale +-1."""

    rate_hz: int
    samples: np.ndarray


def load_audio(
    source: str | os.PathLike | tuple[int, np.ndarray], max_s: float = MAX_HUM_S, max_bytes: int = MAX_FILE_BYTES
) -> np.ndarray:
    """Read a recording as mono float32 samples at 16 kHz, shape (n,), at least one.

    Channels are averaged; if they cancel each other, the loudest is taken. A damaged file gives what could be decoded.

    Parameters
    ----------
    source : path or (sample_rate_hz, samples)
        A local audio or video file; or what ``gradio.Audio(type="numpy")`` gives: the rate in Hz and an array
        of shape (n,) or (n, n_channels), of floats with full scale +-1 or of uint8, int8, int16, int32.
    max_s, max_bytes
        Longest recording and largest file accepted. A longer recording is refused before it is decoded to its end.

    Raises
    ------
    AudioError
        Missing, empty, not audio, without sound, too long, too large, or with samples that are not numbers.
    """
    if isinstance(source, (tuple, list)):
        return _mono(_array_blocks(source, max_s), "the recording", max_s)
    path = local_path(source)
    label = repr(path.name)
    with open_checked(path, label, max_bytes) as file:
        return _mono(_file_blocks(file, label, max_s), label, max_s)


def load_recording(source: str | os.PathLike | tuple[int, np.ndarray]) -> np.ndarray:
    """Do the same with a whole song."""
    return load_audio(source, MAX_RECORDING_S, MAX_RECORDING_BYTES)


def from_mu_law(coded: bytes) -> np.ndarray:
    """Decode mu-law bytes (ITU-T G.711) to float32 samples, shape (n,): half the size of 16 bits, good for pitch."""
    inverted = ~np.frombuffer(coded, np.uint8)
    magnitude = (((inverted & 15).astype(np.int32) << 3) + 132 << (inverted >> 4 & 7)) - 132
    return np.where(inverted & 128, -magnitude, magnitude).astype(np.float32) / 32768


def stereo_blocks(
    recording: str | os.PathLike, rate_hz: int, progress: Callable[[float], None] | None = None, from_s: float = 0.0
) -> Iterator[np.ndarray]:
    """Yield a recording in blocks of some thousand float32 samples, shape (n, 2): memory does not depend on its length.

    One channel is doubled. More than two are averaged into both, as surround recordings have the voice in the centre.
    ``progress`` is called with the share of the file that has been read, 0 to 1; many codecs do not state the length.
    The decoder seeks to ``from_s``, exact to a packet of the codec (0.1 s), so a late place takes no longer. AudioError
    as of :func:`load_audio`, when the damage is reached.
    """
    path = local_path(recording)
    label = repr(path.name)
    with open_checked(path, label, MAX_RECORDING_BYTES) as file:
        n_bytes, share = os.fstat(file.fileno()).st_size, 0.0
        blocks = _checked(_file_blocks(file, label, MAX_RECORDING_S, from_s), label, MAX_RECORDING_S)
        for samples in _resampled((Block(block.rate_hz, _to_stereo(block.samples)) for block in blocks), rate_hz):
            yield samples
            if progress is not None:
                share = max(share, min(1.0, os.lseek(file.fileno(), 0, os.SEEK_CUR) / n_bytes))
                progress(share)


def load_part(
    recording: str | os.PathLike, rate_hz: int, from_s: float = 0.0, duration_s: float = math.inf
) -> np.ndarray:
    """Return a part of a recording, by default all of it, as mono samples at any rate, shape (n,) or less.

    AudioError as of :func:`load_audio`, when the damage is reached, and if nothing is there.
    """
    blocks, n_samples = [], 0
    for block in stereo_blocks(recording, rate_hz, from_s=from_s):
        blocks.append(block.mean(axis=1))
        n_samples += len(block)
        if n_samples >= duration_s * rate_hz:
            break
    return np.concatenate(blocks)[: round(min(duration_s * rate_hz, n_samples))]


def live_blocks(file: BinaryIO, is_raw: bool = False) -> Iterator[np.ndarray]:
    """Yield the sound of a pipe as it comes: mono float32 samples at 16 kHz, shape (n,).

    Parameters
    ----------
    file : binary file
        Read without a buffer: a pipe gives what there is. Any format that is read front to back, as WAV.
    is_raw : bool
        The sound is bare: 16-bit little-endian samples, mono, 16 kHz.

    Raises
    ------
    AudioError
        As :func:`load_audio`, when the damage is reached.
    """
    if is_raw:
        rest = b""
        while coded := file.read(2 * BLOCK_FRAMES):
            coded = rest + coded
            n_whole = len(coded) // 2 * 2
            yield _to_float(np.frombuffer(coded[:n_whole], "<i2"))
            rest = coded[n_whole:]
        return
    blocks = _checked(_ffmpeg_blocks(file, "the pipe", MAX_RECORDING_S, 0.0), "the pipe", MAX_RECORDING_S)
    for samples in _resampled(blocks, SAMPLE_RATE_HZ):
        yield _to_mono(samples)


def microphone_blocks() -> Iterator[np.ndarray]:
    """Yield what the computer's microphone hears, without end: mono float32 samples at 16 kHz, shape (n,).

    It goes on hearing while a block is being used; nothing is lost.

    Raises
    ------
    AudioError
        The package sounddevice, its PortAudio, or a microphone is missing, or the microphone falls silent.
    """
    try:
        import sounddevice
    except (ImportError, OSError) as error:  # OSError: PortAudio is missing
        raise AudioError(
            f"the microphone needs sounddevice ({error}); install it with: pip install 'hmm2song[microphone]', "
            "or pipe the sound: arecord -f S16_LE -r 16000 -t wav | hmm2song listen -"
        ) from error
    heard: SimpleQueue[np.ndarray] = SimpleQueue()
    form = {"samplerate": SAMPLE_RATE_HZ, "channels": 1, "dtype": "float32"}
    try:
        with sounddevice.InputStream(**form, callback=lambda block, *_: heard.put(block[:, 0].copy())):
            while True:
                yield heard.get(timeout=MICROPHONE_TIMEOUT_S)
    except (sounddevice.PortAudioError, Empty) as error:
        raise AudioError(f"the microphone gives no sound ({error}); connect one, or pipe the sound") from error


def local_path(source: object) -> Path:
    """Return a file name as a path, or raise AudioError for what is none."""
    if source is None:
        raise AudioError("there is no recording (None); record or choose a file first")
    if not isinstance(source, (str, os.PathLike)):
        raise AudioError(
            "a recording is given as a file name or as (sample_rate_hz, samples), "
            f"not as {type(source).__name__}; pass one of these"
        )
    name = os.fsdecode(source)
    if not name:
        raise AudioError("the file name is empty (''); choose a recording")
    if _URL.match(name):
        scheme = name.split(":")[0]
        raise AudioError(f"{scheme}: addresses are not opened; download the recording and pass the file")
    return Path(name)


def open_checked(path: Path, label: str, max_bytes: int) -> BinaryIO:
    """Open a regular file (a pipe would block, a device never ends) that is neither empty nor too large."""
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise AudioError(f"{label} is a folder; choose one recording in it")
        if not stat.S_ISREG(status.st_mode):
            raise AudioError(f"{label} is not a regular file; choose a recording")
        if status.st_size == 0:
            raise AudioError(f"{label} is empty (0 bytes); record it again")
        if status.st_size > max_bytes:
            raise AudioError(
                f"{label} has {status.st_size / 1024**2:.1f} MiB; at most {max_bytes / 1024**2:.1f} MiB are "
                "accepted: cut it shorter or save it as MP3"
            )
        return path.open("rb", buffering=0)  # libsndfile shares the descriptor: nothing may be read ahead
    except FileNotFoundError as error:
        raise AudioError(f"there is no file {label}; check the name and the folder") from error
    except OSError as error:
        raise AudioError(f"{label} cannot be opened ({error.strerror}); check the name and the permissions") from error
    except ValueError as error:  # a null character
        raise AudioError(f"{label} is no possible file name; rename the recording") from error


def _file_blocks(file: BinaryIO, label: str, max_s: float, from_s: float = 0.0) -> Iterator[Block]:
    """Decode an open file from ``from_s`` on."""
    found_any = False
    start = file.read(4)
    if start == b"OggS" and from_s == 0 and len(links := _ogg_links(file)) > 1:
        for link in links:
            with suppress(AudioError):  # this one breaks off before its sound; the others are still good
                for block in _ffmpeg_blocks(io.BytesIO(link), label, math.inf, 0.0):
                    found_any = True
                    yield block
    if start in LIBSNDFILE_STARTS:
        file.seek(0)
        for block in _libsndfile_blocks(file, label, max_s, from_s):
            found_any = True
            yield block
    if not found_any:  # another format, or a wav whose recorder crashed before it wrote the length
        file.seek(0)
        try:
            for block in _ffmpeg_blocks(file, label, max_s, from_s):
                found_any = True
                yield block
        except AudioError:
            if found_any or start != b"OggS":
                raise
            file.seek(0)  # FFmpeg refuses a Vorbis file whose header comes twice
            for block in _libsndfile_blocks(file, label, max_s, from_s, ("VORBIS",)):
                found_any = True
                yield block
            if not found_any:
                raise


def _ogg_links(file: BinaryIO) -> list[bytes]:
    """Return the streams that follow each other in an Ogg file, if several do; FFmpeg ends where channels change."""
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        starts, is_start = [], False
        for page in re.finditer(rb"OggS\0([\0-\7])", content):
            was_start, is_start = is_start, bool(page[1][0] & OGG_STREAM_BEGINS)
            if is_start and not was_start:  # a film begins with the first pages of sound and pictures
                starts.append(page.start())
        bounds = pairwise([*starts, len(content)]) if len(starts) > 1 else ()
        return [content[first:last] for first, last in bounds]


def _libsndfile_blocks(
    file: BinaryIO, label: str, max_s: float, from_s: float, subtypes: tuple[str, ...] = MEMORYLESS_SUBTYPES
) -> Iterator[Block]:
    try:
        # By descriptor: given a name, soundfile would trust its ending (.raw) rather than the content.
        sound = soundfile.SoundFile(file.fileno(), closefd=False)
    except soundfile.LibsndfileError:
        return
    with sound:
        if not sound.subtype.startswith(subtypes):
            return
        _check_rate(sound.samplerate, label)
        if sound.frames != UNKNOWN_FRAMES:
            _check_length(sound.frames / sound.samplerate, label, max_s)
        if from_s > 0:
            try:
                sound.seek(round(from_s * sound.samplerate))
            except soundfile.LibsndfileError:  # past the end, or a stream in which libsndfile cannot seek
                return
        with suppress(soundfile.LibsndfileError):  # broken off here: what came before is still good
            while len(samples := sound.read(BLOCK_FRAMES, dtype="float32", always_2d=True)):
                yield Block(sound.samplerate, samples)


def _ffmpeg_blocks(file: BinaryIO, label: str, max_s: float, from_s: float) -> Iterator[Block]:
    import av  # imported here: a microphone's wav does not need FFmpeg, and loading it takes 0.2 s

    options = {"format_whitelist": FFMPEG_FORMATS, "protocol_whitelist": "none"}
    try:
        container = av.open(file, options=options, metadata_errors="ignore")
    except av.FFmpegError as error:
        raise AudioError(f"{label} is not audio that can be read, or is damaged; use {READABLE}") from error
    with container:
        if not container.streams.audio:
            kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "an empty container"
            raise AudioError(f"{label} holds no sound, only {kinds}; record with the microphone on")
        has_times = container.format.name.startswith(FORMATS_WITH_TIMES)
        if container.duration is not None and has_times:
            _check_length(container.duration / av.time_base, label, max_s)
        stream = container.streams.audio[0]
        if stream.codec_context is None:
            raise AudioError(f"{label} is coded in a way that cannot be decoded; use {READABLE}")
        to_float, form, end_s = None, None, None
        first_s = from_s + (container.start_time or 0) / av.time_base
        if from_s > 0:
            with suppress(av.FFmpegError):  # without seeking, everything before is decoded
                container.seek(round(first_s * av.time_base))
        for frame in _ffmpeg_frames(container, stream):
            if from_s > 0 and frame.time is not None and frame.time + frame.samples / frame.sample_rate <= first_s:
                continue
            start_s = frame.time if has_times and frame.time is not None else end_s
            if end_s is not None and GAP_S < start_s - end_s <= LONGEST_GAP_S:
                silence = np.zeros((round((start_s - end_s) * frame.sample_rate), frame.layout.nb_channels), np.float32)
                yield Block(frame.sample_rate, silence)
            end_s = (start_s or 0.0) + frame.samples / frame.sample_rate
            if form != (form := (frame.sample_rate, frame.layout.name, frame.format.name)):
                to_float = av.AudioResampler(format="fltp")  # rate and channels stay as they are
            for floats in to_float.resample(frame):
                yield Block(floats.sample_rate, floats.to_ndarray().T)


def _ffmpeg_frames(container: av.container.InputContainer, stream: av.AudioStream) -> Iterator[av.AudioFrame]:
    import av

    packets = container.demux(stream)
    with suppress(av.FFmpegError):  # broken off here: what came before is still good
        while True:
            with suppress(av.InvalidDataError):  # one damaged packet; the next may be whole
                if (packet := next(packets, None)) is None:
                    return
                yield from packet.decode()


def _array_blocks(source: tuple, max_s: float) -> Iterator[Block]:
    if len(source) == 2 and isinstance(source[0], np.ndarray):
        source = source[::-1]  # (samples, rate), as soundfile and librosa give it
    is_pair = len(source) == 2 and isinstance(source[0], (int, float, np.number))
    if not is_pair or not isinstance(source[1], np.ndarray):
        kinds = ", ".join(type(part).__name__ for part in source)
        raise AudioError(f"sound in memory is given as (sample_rate_hz, NumPy array), not as ({kinds})")
    rate_hz, samples = source
    if samples.dtype.kind != "f" and samples.dtype not in (np.uint8, np.int8, np.int16, np.int32):
        raise AudioError(
            f"samples of type {samples.dtype} have no known full scale; convert them to int16, int32 or float32"
        )
    if samples.size == 0:
        raise AudioError(f"the recording is empty (array of shape {samples.shape}); record it again")
    if samples.ndim not in (1, 2):
        raise AudioError(f"samples must have the shape (n,) or (n, n_channels), got {samples.shape}")
    samples = samples.reshape(len(samples), -1)
    _check_rate(rate_hz, "the recording")
    _check_length(len(samples) / rate_hz, "the recording", max_s)
    for start in range(0, len(samples), BLOCK_FRAMES):
        yield Block(int(round(rate_hz)), _to_float(samples[start : start + BLOCK_FRAMES]))


def _to_float(samples: np.ndarray) -> np.ndarray:
    """Bring integers of any width to full scale +-1; floats are taken as they are."""
    if samples.dtype.kind == "f":
        with np.errstate(over="ignore"):  # too large for float32 becomes infinite, which is reported
            return samples.astype(np.float32)
    half = 2.0 ** (8 * samples.dtype.itemsize - 1)
    offset = half if samples.dtype.kind == "u" else 0.0
    return ((samples.astype(np.float64) - offset) / half).astype(np.float32)


def _check_rate(rate_hz: float, label: str) -> None:
    """Raise AudioError for a sample rate that no recorder has."""
    if not MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ:  # also true for NaN
        raise AudioError(
            f"{label} claims {rate_hz:g} samples per second; {MIN_RATE_HZ} to {MAX_RATE_HZ} are possible: "
            "save it again at 44100 Hz"
        )


def _check_length(length_s: float, label: str, max_s: float) -> None:
    if length_s > max_s + LENGTH_TOLERANCE_S:
        raise AudioError(f"{label} lasts {length_s:.1f} s; at most {max_s:g} s are accepted: cut out a part")


def _checked(blocks: Iterator[Block], label: str, max_s: float) -> Iterator[Block]:
    """Pass blocks on, at least one; AudioError if they are impossible or last longer than ``max_s``."""
    length_s = 0.0
    try:
        for block in blocks:
            n_frames, n_channels = block.samples.shape
            _check_rate(block.rate_hz, label)
            if n_channels > MAX_CHANNELS:
                raise AudioError(
                    f"{label} has {n_channels} channels; 1 to {MAX_CHANNELS} are accepted: mix it down, "
                    "or turn the array so that its shape is (n, n_channels)"
                )
            length_s += n_frames / block.rate_hz
            if length_s > max_s + LENGTH_TOLERANCE_S:
                raise AudioError(f"{label} lasts more than the {max_s:g} s that are accepted: cut out a part")
            if not np.all(np.abs(block.samples) <= LARGEST_SAMPLE):  # false for NaN too
                raise AudioError(
                    f"{label} holds samples that are not finite numbers (NaN, infinite or absurdly large), "
                    f"the first within {length_s:.1f} s; export it again"
                )
            yield block
    except OSError as error:  # a bad sector, a network drive that went away
        raise AudioError(f"{label} cannot be read to its end ({error}); copy it anew") from error
    if not length_s:
        raise AudioError(f"{label} holds no sound that can be decoded; record it again")


# Resampling and mixing ----------------------------------------------------------------------------------------


def _mono(blocks: Iterator[Block], label: str, max_s: float) -> np.ndarray:
    """Join blocks at 16 kHz; each part with its own rate or number of channels is resampled and mixed by itself."""
    blocks = _joined(_checked(blocks, label, max_s))
    parts = groupby(blocks, key=lambda block: (block.rate_hz, block.samples.shape[1]))
    return np.concatenate([_to_mono(np.concatenate(list(_resampled(part, SAMPLE_RATE_HZ)))) for _, part in parts])


def _joined(blocks: Iterator[Block]) -> Iterator[Block]:
    """Join the small blocks that some codecs give: resampling each by itself takes longer."""
    parts: list[Block] = []
    n_frames = 0
    for block in blocks:
        is_other = parts and (block.rate_hz, block.samples.shape[1]) != (parts[0].rate_hz, parts[0].samples.shape[1])
        if is_other or n_frames >= JOINED_FRAMES:
            yield Block(parts[0].rate_hz, np.concatenate([part.samples for part in parts]))
            parts, n_frames = [], 0
        parts.append(block)
        n_frames += len(block.samples)
    if parts:
        yield Block(parts[0].rate_hz, np.concatenate([part.samples for part in parts]))


def _resampled(blocks: Iterator[Block], to_hz: int) -> Iterator[np.ndarray]:
    """Resample blocks of (n, n_channels), anew where their rate changes; at least one sample comes out."""
    n_out = 0
    for rate_hz, part in groupby(blocks, key=lambda block: block.rate_hz):
        stream = None
        for block in part:
            samples, n_channels = block.samples, block.samples.shape[1]
            if rate_hz != to_hz:
                stream = stream or soxr.ResampleStream(rate_hz, to_hz, n_channels, dtype="float32")
                samples = _fed(stream, samples)
            n_out += len(samples)
            yield samples
        if stream is not None:
            rest = _fed(stream, np.zeros((0, n_channels), np.float32), last=True)
            n_out += len(rest)
            yield rest
    if not n_out:
        yield block.samples[:1]  # a few samples at 192 kHz resample to none


def _fed(stream: soxr.ResampleStream, samples: np.ndarray, last: bool = False) -> np.ndarray:
    n_channels = samples.shape[1]
    flat = np.ascontiguousarray(samples[:, 0] if n_channels == 1 else samples)
    return stream.resample_chunk(flat, last=last).reshape(-1, n_channels)


def _to_mono(frames: np.ndarray) -> np.ndarray:
    """Average the channels of (n, n_channels); take the loudest where they cancel (one wired in reverse)."""
    if frames.shape[1] == 1:
        return np.ascontiguousarray(frames[:, 0], dtype=np.float32)
    channels = [frames[:, channel].astype(np.float64) for channel in range(frames.shape[1])]
    mono = sum(channels[1:], start=channels[0]) / len(channels)  # numpy takes four times as long over rows of two
    power = [channel.var() for channel in channels]
    loudest = int(np.argmax(power))
    if mono.var() < CANCELLED_POWER_RATIO * power[loudest]:
        return np.ascontiguousarray(frames[:, loudest], dtype=np.float32)
    return mono.astype(np.float32)


def _to_stereo(samples: np.ndarray) -> np.ndarray:
    """Return (n, n_channels) as contiguous (n, 2)."""
    if samples.shape[1] > 2:
        samples = samples.mean(axis=1, keepdims=True, dtype=np.float64)
    return np.ascontiguousarray(np.broadcast_to(samples, (len(samples), 2)), dtype=np.float32)
