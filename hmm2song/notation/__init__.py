"""Readers of written music, one file per notation, and what they share.

They are written here rather than taken from a general toolkit for three reasons: a melody needs only notes
and their times; every fault of an untrusted file must surface as one error class; and accidentals within the
bar, repeats, tempo changes and ties across bars must be right, or the song will not be found.

``bars``      measures, repeats and the tempo map -> notes in seconds
``lines``     many notes or many parts -> one melody line
``abc``       ABC 2.1
``musicxml``  MusicXML, plain and compressed
``midi``      Standard MIDI files
"""
