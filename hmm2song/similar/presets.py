"""What can be asked about similar songs: names that are needed before anything is compared, quick to import."""

FACETS = ("voice", "style", "feel", "melody")
PRESETS = {
    "all": {"voice": 1.0, "style": 1.0, "feel": 0.5},
    "voice": {"voice": 1.0},
    "style": {"style": 1.0},
    "feel": {"feel": 1.0},
    "tune": {"melody": 1.0},
}
"""Weights by name. Of ``"all"``, facets that a catalog or a song lacks are left out; notes are compared by melody."""
DEFAULT_TOP_K, MAX_TOP_K = 10, 100
DEFAULT_STEPS, MAX_STEPS = 6, 50
