"""An open file to blocks: libsndfile for wav, flac and aiff, FFmpeg through PyAV for all else (mp3, ogg, m4a, ...)."""

from __future__ import annotations

import io
import math
import mmap
import re
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
import soundfile

from hmm2song.audio.resampling import Block, check_length, check_rate
from hmm2song.errors import AudioError

if TYPE_CHECKING:
    import av

BLOCK_FRAMES = 2048
"""Frames decoded at a time: what is lost at most where a damaged file breaks off."""
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
READABLE = "WAV, FLAC, MP3, OGG, M4A or WebM"


def file_blocks(file: BinaryIO, label: str, max_s: float, from_s: float = 0.0) -> Iterator[Block]:
    """Decode an open file from ``from_s`` on."""
    found_any = False
    start = file.read(4)
    if start == b"OggS" and from_s == 0 and len(links := _ogg_links(file)) > 1:
        for link in links:
            with suppress(AudioError):  # this one breaks off before its sound; the others are still good
                for block in ffmpeg_blocks(io.BytesIO(link), label, math.inf, 0.0):
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
            for block in ffmpeg_blocks(file, label, max_s, from_s):
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
        check_rate(sound.samplerate, label)
        if sound.frames != UNKNOWN_FRAMES:
            check_length(sound.frames / sound.samplerate, label, max_s)
        if from_s > 0:
            try:
                sound.seek(round(from_s * sound.samplerate))
            except soundfile.LibsndfileError:  # past the end, or a stream in which libsndfile cannot seek
                return
        with suppress(soundfile.LibsndfileError):  # broken off here: what came before is still good
            while len(samples := sound.read(BLOCK_FRAMES, dtype="float32", always_2d=True)):
                yield Block(sound.samplerate, samples)


def ffmpeg_blocks(file: BinaryIO, label: str, max_s: float, from_s: float) -> Iterator[Block]:
    """Decode an open file or pipe with FFmpeg; AudioError if it can make nothing of it, or the header is too long."""
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
            check_length(container.duration / av.time_base, label, max_s)
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
