#!/usr/bin/env bash
# The fast DTW distance of two nearly equal melodies is infinite for every fifth pair.
#
# Version: dtaidistance 2.5.1, numpy 2.4.6.
# Expected: dtw.distance_fast is the C version of dtw.distance: the same number, sooner.
# Seen: with default options distance_fast returns inf for about a fifth of pairs (a, a + small noise), whose
#   best path is the diagonal. It prunes with the Euclidean distance as upper bound, and the sum over the path
#   may exceed that bound in its last bit. use_pruning=False mends it; dtw.distance and distance_matrix_fast
#   do not prune by default and are right.
# Meaning: the best matches of a search, not the bad ones, come back as "no path". Pass use_pruning=False, or
#   treat inf as the Euclidean distance.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3}" -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check numpy==2.4.6 dtaidistance==2.5.1
venv/bin/python - <<'EOF'
import numpy as np
from dtaidistance import dtw

rng = np.random.default_rng(0)
pairs = [(a, a + 0.05 * rng.standard_normal(50)) for a in rng.standard_normal((1000, 50))]
fast = np.array([dtw.distance_fast(a, b) for a, b in pairs])
unpruned = np.array([dtw.distance_fast(a, b, use_pruning=False) for a, b in pairs])
matrix = np.array([dtw.distance_matrix_fast(np.array(pair))[0, 1] for pair in pairs])
slow = np.array([dtw.distance(a, b) for a, b in pairs[:100]])
print("infinite: distance_fast", np.isinf(fast).sum(), "of 1,000; without pruning", np.isinf(unpruned).sum())
print("largest difference of the slow version from the unpruned:", np.abs(slow - unpruned[:100]).max())
print("largest difference of distance_matrix_fast from the unpruned:", np.abs(matrix - unpruned).max())
assert np.isinf(fast).sum() > 100 and np.isfinite(unpruned).all()
assert np.allclose(slow, unpruned[:100]) and np.allclose(matrix, unpruned)
EOF
