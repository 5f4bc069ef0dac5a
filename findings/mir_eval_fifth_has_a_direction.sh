#!/usr/bin/env bash
# A key that is a fifth off earns half a point or none: it depends on which of the two is the truth.
#
# Version: mir_eval 0.8.2, numpy 2.4.6, scipy 1.17.1.
# Expected: the weighted score gives 0.5 to "a perfect fifth" and 0.3 to the relative key, in either
#   direction, since both keys share six of seven notes.
# Seen: an estimate a fifth above the truth earns 0.5, one a fifth below (a fourth above) nothing. The
#   relative key earns 0.3 both ways. For minor keys it is the same.
# Meaning: swap estimate and reference by mistake and the mean still looks plausible; and a finder that hears
#   the subdominant is punished as if it had heard a tritone.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3}" -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check numpy==2.4.6 scipy==1.17.1 mir_eval==0.8.2
venv/bin/python - <<'EOF'
from mir_eval.key import weighted_score

pairs = [("C major", "G major"), ("C major", "F major"), ("A minor", "E minor"), ("A minor", "D minor"),
         ("C major", "A minor"), ("A minor", "C major"), ("C major", "F# major")]
scores = {pair: weighted_score(*pair) for pair in pairs}
for (truth, estimate), score in scores.items():
    print(f"truth {truth}, estimate {estimate}: {score}")
assert list(scores.values()) == [0.5, 0.0, 0.5, 0.0, 0.3, 0.3, 0.0]
EOF
