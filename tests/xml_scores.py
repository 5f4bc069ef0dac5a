"""Small MusicXML scores, written note by note."""

DIVISIONS = "<attributes><divisions>4</divisions></attributes>"
QUARTER_60 = '<sound tempo="60"/>'


def xml_note(pitch, quarters=1, extra="", before=""):
    step, octave = pitch[0], pitch[-1]
    alter = {"#": "<alter>1</alter>", "b": "<alter>-1</alter>"}.get(pitch[1:-1], "")
    return (
        f"<note>{before}<pitch><step>{step}</step>{alter}<octave>{octave}</octave></pitch>"
        f"<duration>{int(4 * quarters)}</duration>{extra}</note>"
    )


def xml_score(*parts, names=()):
    """Write a score of parts, each a list of the contents of its measures."""
    listed = "".join(
        f'<score-part id="P{number}"><part-name>{name}</part-name></score-part>' for number, name in enumerate(names)
    )
    content = "".join(
        f'<part id="P{number}">' + "".join(f"<measure>{measure}</measure>" for measure in measures) + "</part>"
        for number, measures in enumerate(parts)
    )
    return (
        '<?xml version="1.0"?><!DOCTYPE score-partwise PUBLIC "-//Recordare//DTD MusicXML 3.1 Partwise//EN" '
        '"http://www.musicxml.org/dtds/partwise.dtd">'
        "<score-partwise><work><work-title>A Song</work-title></work>"
        '<identification><creator type="composer">A. Nonymous</creator><rights>CC0</rights></identification>'
        f"<part-list>{listed}</part-list>{content}</score-partwise>"
    )


START = DIVISIONS + QUARTER_60
REPEAT = '<barline location="right"><repeat direction="backward"/></barline>'
