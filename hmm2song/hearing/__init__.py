"""Recordings heard as sound, not as melodies: where somebody sings, how it feels, what it is like."""
