"""Readers of written music, one file per notation, and what they share.

They are read here. The toolkit for ABC and MusicXML loses accidentals later in a bar, tempo changes and multi-bar rests
in ABC, and lets a damaged file raise anything; those for MIDI refuse a file for one bad byte. A melody needs only notes
and their times, but those right, or the song will not be found.

``bars``      measures, repeats and the tempo map -> notes in seconds
``lines``     chords -> one melody line
``parts``     which part is the tune, by lyrics, voices, range and share of the song
``abc``       ABC 1.6 to 2.1, with ``abc_book`` (tunes and lines of a file) and ``abc_fields`` (key, metre, clef, ...)
``musicxml``  MusicXML, plain and compressed
``mei``       MEI; ``mei_layers`` reads its beams, chords and notes
``kern``      Humdrum; ``kern_tokens`` reads durations and pitches
``ultrastar`` UltraStar karaoke songs
``clock``     the tempo map of MIDI and UltraStar
``staves``    written staves of bars -> parts
``text``      letters that ABC writes with signs of ASCII
``xml``       parsing of untrusted XML
``midi``      Standard MIDI files; ``midi_events`` reads their bytes
"""
