"""Melodies: from sound, from files of notes, and as contours cut into windows."""

from hmm2song.melody.melody import HOP_S, Melody, hz_to_midi, melody_from_f0, melody_from_notes, midi_to_hz

__all__ = ["HOP_S", "Melody", "hz_to_midi", "melody_from_f0", "melody_from_notes", "midi_to_hz"]
