#!/usr/bin/env bash
# Ray Data turns float32 arrays into float64 where the rows of a column differ in length.
#
# Version: ray 2.60.0 with pyarrow 26.0.1, numpy 2.4.6.
# Expected: a batch function that returns float32 arrays gives a column of float32 arrays.
# Seen: rows of one length stay float32 (float16 too); rows of several lengths come back as float64 from the very same
#   function, at twice the size. The same rows given to `from_items` stay float32.
# Meaning: the type of melodies, pitch tracks and other rows that differ in length must be set again after every step,
#   or arrays be sent as bytes. A test with rows of one length does not show it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3}" -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check numpy==2.4.6 pyarrow==26.0.1 "ray[data]==2.60.0"
venv/bin/python - <<'EOF'
import logging
import os

os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"
import numpy as np
import ray

ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
logging.getLogger("ray.data").setLevel("ERROR")
ray.data.DataContext.get_current().enable_progress_bars = False


def rows(lengths) -> np.ndarray:
    found = np.empty(len(lengths), object)
    for row, length in enumerate(lengths):
        found[row] = np.zeros(int(length), np.float32)
    return found


def type_of(dataset) -> str:
    return str(dataset.take_batch(4)["pitch"][0].dtype)


ids = ray.data.range(4, override_num_blocks=1)
found = {
    "map_batches, one length": type_of(ids.map_batches(lambda batch: {"pitch": rows([3] * len(batch["id"]))})),
    "map_batches, lengths 1 to 4": type_of(ids.map_batches(lambda batch: {"pitch": rows(batch["id"] + 1)})),
    "from_items, lengths 1 to 4": type_of(ray.data.from_items([{"pitch": row} for row in rows(range(1, 5))])),
}
ray.shutdown()
for name, kind in found.items():
    print(f"{name}: {kind}")
assert list(found.values()) == ["float32", "float64", "float32"], found
EOF
