"""What decides what the melody encoder learns: the recipe, and the singers that hum for it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from hmm2song.embeddings.contour_encoder import WindowConfig
from hmm2song.embeddings.network import NetworkConfig
from hmm2song.training.singer import Singer


@dataclass(frozen=True)
class Recipe:
    """Everything that, with the seed and the melodies, decides what is learned."""

    windows: WindowConfig = field(default_factory=WindowConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    n_steps: int = 1500
    n_hums: int = 400  # per step, of as many melodies
    windows_per_hum: int = 2
    learning_rate: float = 2e-3
    n_warmup_steps: int = 100
    weight_decay: float = 0.01
    temperature: float = 0.07  # at first; it is learned
    average_share: float = 1.0  # of the newest weights in the average that is kept; 1 keeps the newest alone
    hum_s: tuple[float, float] = (4.0, 12.0)
    min_fill: float = 0.5  # least part of a window that the hum fills
    tempo_residual_log_sd: float = 0.07  # the error of tempo that remains after a search over tempi
    start_residual_s: float = 0.35  # the error of position that remains with windows on a grid
    poor_singer_share: float = 0.3
    noisy_song_share: float = 0.15  # songs as a tracker hears single voices, not as written
    tracked_song_share: float = 0.0  # songs as a tracker hears them in the mix of a recording
    held_out_share: float = 0.08
    n_validation_hums: int = 600
    without: str = ""  # an effect of the singer, for ablations
    validate_every: int = 250


def smoke(recipe: Recipe) -> Recipe:
    """Return the recipe cut down to two steps of a tiny network, to see that it runs."""
    network = replace(recipe.network, channels=8, dim=16, dilations=(1, 2))
    return replace(recipe, n_steps=2, n_hums=8, n_validation_hums=8, validate_every=1, network=network)


GOOD_SINGER = Singer()
POOR_SINGER = replace(
    GOOD_SINGER,
    interval_scale_sd=0.10,
    tempo_warp_log_sd=0.11,
    note_error_median_st=0.45,
    wrong_probability=0.08,
    dropped_probability=0.04,
    drift_sd_st_per_10s=0.9,
    octave_slip_rate_per_s=0.05,
)
"""The singer's statistics lack the hums that could not be aligned. A share of worse singers makes up for them."""

EFFECTS: dict[str, dict[str, object]] = {
    "note-errors": {"note_error_median_st": 0.0},
    "drift": {"drift_sd_st_per_10s": 0.0},
    "interval-scale": {"interval_scale_sd": 0.0},
    "local-timing": {"tempo_warp_log_sd": 0.0},
    "glides": {"glide_median_s": 0.01, "scoop_sd_st": 0.0},
    "vibrato-jitter": {"vibrato_probability": 0.0, "jitter_sd_st": 0.0},
    "gaps-breaths": {"legato_share": (1.0, 1.0), "breath_rate_per_s": 0.0},
    "wrong-notes": {"wrong_probability": 0.0, "dropped_probability": 0.0, "repeated_probability": 0.0},
    "octave-slips": {"octave_slip_rate_per_s": 0.0},
    "mid-phrase": {"phrase_start_probability": 1.0},
}
"""What ``Recipe.without`` may name, and the fields of the singer that switch it off, to measure each effect's worth."""
