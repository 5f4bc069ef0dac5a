#!/usr/bin/env bash
# A perfect beat tracker scores 0 on a clip of four seconds, and 0 by one measure on a clip of seven.
#
# Version: mir_eval 0.8.2, numpy 2.4.6, scipy 1.17.1.
# Expected: beats compared with themselves score 1 by every measure, or the call raises for clips that are too
#   short.
# Seen: beat.evaluate drops all beats before 5 s first, so four seconds score 0 by all ten measures (with a
#   warning). Of seven seconds four beats are left; nine measures say 1, and Goto says 0.
# Meaning: hums and refrains are shorter than what these measures were made for: shift the times by 5 s, or
#   call the single functions, and leave Goto out.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3}" -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check numpy==2.4.6 scipy==1.17.1 mir_eval==0.8.2
venv/bin/python - <<'EOF'
import mir_eval
import numpy as np

scores = {}
for seconds in (4, 7, 30):
    beats = np.arange(0, seconds, 0.5)
    scores[seconds] = mir_eval.beat.evaluate(beats, beats.copy())
    print(f"{seconds} s against itself:", {name: round(float(score), 2) for name, score in scores[seconds].items()})
shifted = mir_eval.beat.evaluate(np.arange(5, 9, 0.5), np.arange(5, 9, 0.5))
print("4 s, moved by 5 s:", {name: round(float(score), 2) for name, score in shifted.items()})
assert not any(scores[4].values())
assert [name for name, score in scores[7].items() if score < 0.99] == ["Goto"]
assert all(score > 0.99 for name, score in scores[30].items())
EOF
