// From the microphone's samples to 16 kHz, to mu-law bytes, and to a pitch that is drawn while one hums.
const RATE_HZ = 16000, FRAME = 1024, HOP = 512, MIN_LAG = 15, MAX_LAG = 260; // 61 to 1067 Hz

// McLeod pitch method on 64 ms. Returns {hz, rms}; hz is 0 where there is no pitch.
const nsdf = new Float32Array(MAX_LAG + 2);
function pitchOf(x, k = 0.85, clear = 0.8, gate = 0.002) {
  let energy = 0;
  for (let i = 0; i < FRAME; i++) energy += x[i] * x[i];
  const rms = Math.sqrt(energy / FRAME);
  if (rms < gate) return {hz: 0, rms};
  let m = 2 * energy;
  for (let lag = 0; lag <= MAX_LAG + 1; lag++) {
    let r = 0;
    for (let i = 0, n = FRAME - lag; i < n; i++) r += x[i] * x[i + lag];
    nsdf[lag] = m > 0 ? 2 * r / m : 0;
    m -= x[lag] * x[lag] + x[FRAME - 1 - lag] * x[FRAME - 1 - lag];
  }
  let lag = 1, best = 0;
  while (lag <= MAX_LAG && nsdf[lag] > 0) lag++; // leave the lobe at lag 0
  const peaks = [];
  while (lag <= MAX_LAG) {
    while (lag <= MAX_LAG && nsdf[lag] <= 0) lag++;
    let peak = -1, height = 0;
    for (; lag <= MAX_LAG && nsdf[lag] > 0; lag++) if (nsdf[lag] > height) { height = nsdf[lag]; peak = lag; }
    if (peak >= MIN_LAG) { peaks.push(peak); best = Math.max(best, height); }
  }
  const p = peaks.find((q) => nsdf[q] >= k * best);
  if (p === undefined || nsdf[p] < clear) return {hz: 0, rms};
  const a = nsdf[p - 1], c = nsdf[p + 1], d = a - 2 * nsdf[p] + c;
  return {hz: RATE_HZ / (p + (d < 0 ? 0.5 * (a - c) / d : 0)), rms};
}

// Windowed sinc; keeps its tail between blocks.
function resampler(fromHz) {
  const ratio = fromHz / RATE_HZ, half = Math.ceil(8 * Math.max(1, ratio)), cut = Math.min(1, 1 / ratio) * 0.92;
  let kept = new Float32Array(half), at = half;
  return (block) => {
    const x = new Float32Array(kept.length + block.length), out = [];
    x.set(kept);
    x.set(block, kept.length);
    for (; at + half < x.length; at += ratio) {
      const centre = Math.floor(at);
      let sum = 0;
      for (let i = centre - half + 1; i <= centre + half; i++) {
        const d = i - at, u = d * cut * Math.PI;
        sum += x[i] * (u ? Math.sin(u) / u : 1) * (0.5 + 0.5 * Math.cos(Math.PI * d / (half + 1))) * cut;
      }
      out.push(sum);
    }
    const drop = Math.max(0, Math.floor(at) - half);
    kept = x.slice(drop);
    at -= drop;
    return Float32Array.from(out);
  };
}

// ITU-T G.711: 14 bits of sound in 8.
function muLaw(samples) {
  return Uint8Array.from(samples, (value) => {
    const whole = Math.round(Math.max(-1, Math.min(1, value)) * 32768), size = Math.min(Math.abs(whole), 32635) + 132;
    const exponent = 24 - Math.clz32(size);
    return ~((whole < 0 ? 128 : 0) | exponent << 4 | (size >> exponent + 3) & 15);
  });
}
