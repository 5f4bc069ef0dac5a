"""Whether what a separator calls the voice really is a voice taken out of the mix.

A network without weights gives an answer too: the mix itself, a constant share of it, or noise. Three figures tell
these from a separation, whatever the music:

* ``residual_db``: power of what remains of the voice when the best-fitting copy of the mix is subtracted, against the
  power of the voice. A copy leaves nothing, at any gain; real separators leave some, even of a voice sung alone.
* ``belonging``: the part of the voice found in the mix, <voice, mix> / <voice, voice>. It is 1 where the mix is the
  voice plus something unrelated, 0 for noise of the network's own, 1/g for the mix times g.
* ``spread_db``: how much the voice's share of the mix varies from moment to moment. Voices come and go; a network that
  was never trained takes the same share of everything.

Little voice is no fault: instrumentals exist. Such a voice is mere bleed, so only its level is reported.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hmm2song.errors import SeparationError

FRAME_S = 0.1
"""Length of the moments between which the voice's share is compared."""
SILENT_POWER = 1e-10
"""Mean power of what counts as digital silence: -100 dB of full scale."""
ABSENT_DB = -100.0
"""A voice this far below the mix was not computed: networks leave some bleed even of instrumentals."""
FAINT_DB = -25.0
"""Below this level against the mix there is only bleed, whose shape says nothing."""
COPY_DB = -50.0
"""Residual of a mere copy: what 16-bit rounding leaves of loud music is below -80 dB."""
MIN_BELONGING = 0.5
"""At least this part of a voice must come from the mix; 1.06 to 1.17 in those songs."""
MIN_SPREAD_DB = 2.0
"""Least spread of the voice's share where that share is not the whole: 10 to 26 dB in twelve songs separated by
HTDemucs, 0.04 to 0.6 dB with untrained Spleeter networks."""
WHOLE_DB = -1.0
"""From this level on the voice is the whole recording, as when somebody sings alone; then its share cannot vary."""
LOUD_FRAME_DB = -40.0
"""Moments this far below the loudest are left out of the spread: there is nothing to share."""


@dataclass(frozen=True)
class VoiceFigures:
    """What was measured of a voice; see the module's description. ``voice_db`` is its power against the mix."""

    voice_db: float
    residual_db: float
    belonging: float
    spread_db: float


class VoiceCheck:
    """Compares a voice with its mix, block by block."""

    def __init__(self, rate_hz: int) -> None:
        self._frame = max(1, round(FRAME_S * rate_hz))
        self._rest = np.zeros((0, 2))
        self._mix_mix = self._voice_voice = self._mix_voice = 0.0
        self._n_samples = 0
        self._frame_powers: list[np.ndarray] = []

    def add(self, mix: np.ndarray, voice: np.ndarray) -> None:
        """Add a block of both, float arrays of shape (n, 2); SeparationError if the voice is no finite numbers."""
        if not np.all(np.isfinite(voice)):
            raise SeparationError("the separator returned values that are not finite numbers; its weights are damaged")
        both = np.stack([mix.mean(axis=1, dtype=np.float64), voice.mean(axis=1, dtype=np.float64)], axis=1)
        self._mix_mix += float(both[:, 0] @ both[:, 0])
        self._voice_voice += float(both[:, 1] @ both[:, 1])
        self._mix_voice += float(both[:, 0] @ both[:, 1])
        self._n_samples += len(both)
        both = np.concatenate([self._rest, both])
        n_frames = len(both) // self._frame
        whole = both[: n_frames * self._frame].reshape(n_frames, self._frame, 2)
        self._frame_powers.append(np.square(whole).mean(axis=1))
        self._rest = both[n_frames * self._frame :]

    def figures(self) -> VoiceFigures:
        """Return what was measured so far; SeparationError if the mix is silent or there is no voice at all."""
        if self._mix_mix <= SILENT_POWER * self._n_samples:
            raise SeparationError("the recording is silent: there is nothing to separate")
        if self._voice_voice <= self._mix_mix * 10 ** (ABSENT_DB / 10):
            raise SeparationError(
                "the separator returned silence where the recording has sound; its weights are missing or damaged"
            )
        explained = self._mix_voice**2 / self._mix_mix
        residual = max(self._voice_voice - explained, 0.0) / self._voice_voice
        return VoiceFigures(
            voice_db=_db(self._voice_voice / self._mix_mix),
            residual_db=_db(residual),
            belonging=self._mix_voice / self._voice_voice,
            spread_db=self._spread_db(),
        )

    def verdict(self) -> float:
        """Return ``voice_db`` of a voice that can be right; SeparationError if it cannot."""
        figures = self.figures()
        if figures.voice_db < FAINT_DB:
            return figures.voice_db
        self.require_change()
        if figures.belonging < MIN_BELONGING:
            raise SeparationError(
                f"only {max(figures.belonging, 0.0):.0%} of the voice comes from the recording, the rest is noise; "
                "the separator has no trained weights"
            )
        if figures.spread_db < MIN_SPREAD_DB and figures.voice_db < WHOLE_DB:
            raise SeparationError(
                f"the voice is the same share of the recording at every moment ({figures.voice_db:.1f} dB, within "
                f"{figures.spread_db:.1f} dB): the separator has no trained weights"
            )
        return figures.voice_db

    def require_change(self) -> None:
        """Raise SeparationError if the voice is a copy of the mix; check nothing else."""
        figures = self.figures()
        if figures.residual_db < COPY_DB:
            raise SeparationError(
                f"the voice is a copy of the recording at {figures.voice_db:.1f} dB, nothing was separated: "
                "if a network did this, it has no trained weights"
            )

    def _spread_db(self) -> float:
        """Return the standard deviation of the voice's share in the moments that are loud enough, in dB."""
        powers = np.concatenate([*self._frame_powers, np.zeros((0, 2))])
        mix, voice = powers[:, 0], powers[:, 1]
        is_loud = mix > mix.max(initial=0.0) * 10 ** (LOUD_FRAME_DB / 10)
        if not is_loud.any():
            return 0.0
        return float(np.std(10 * np.log10(voice[is_loud] / mix[is_loud] + 10 ** (ABSENT_DB / 10))))


def _db(power: float) -> float:
    return float(10 * np.log10(power + 1e-30))
