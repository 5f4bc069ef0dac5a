"""Small MIDI files, written byte by byte."""

import struct


def length(value):
    return bytes([value >> 7 | 0x80, value & 0x7F]) if value > 127 else bytes([value])


def chunk(name, content):
    return name + struct.pack(">I", len(content)) + content


def midi_track(*events, end=b"\x00\xff\x2f\x00"):
    """Write a track of events, each (delta ticks, bytes)."""
    return chunk(b"MTrk", b"".join(length(delta) + data for delta, data in events) + end)


def midi_file(*chunks, division=480, midi_format=None, n_tracks=None):
    midi_format = int(len(chunks) > 1) if midi_format is None else midi_format
    n_tracks = len(chunks) if n_tracks is None else n_tracks
    return chunk(b"MThd", struct.pack(">HHH", midi_format, n_tracks, division)) + b"".join(chunks)


def meta(kind, content):
    return bytes([0xFF, kind]) + length(len(content)) + content


def tempo(quarter_bpm):
    return meta(0x51, round(60e6 / quarter_bpm).to_bytes(3, "big"))


def name(text):
    return meta(0x03, text)


def on(pitch, channel=0):
    return bytes([0x90 | channel, pitch, 80])


def off(pitch, channel=0):
    return bytes([0x80 | channel, pitch, 0])
