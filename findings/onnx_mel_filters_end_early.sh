#!/usr/bin/env bash
# The mel filters of ONNX end half a kilohertz too early, and are no triangles at the low end.
#
# Version: onnx 1.23.2, onnxruntime 1.31.1, librosa 0.11.0, numpy 2.4.6.
# Expected: the operator MelWeightMatrix (40 filters, 512 points, 16 kHz, 0 to 8,000 Hz) gives the HTK filters of
#   librosa (`htk=True, norm=None`).
# Seen: it divides the range by 42 steps where 41 lie between 42 edges, so that the last filter ends at 7,469 Hz and has
#   its peak at 7,000 Hz instead of 7,481; edges are cut down to whole bins, so the first filters are a single bin.
#   The largest difference of a weight is 0.99. The reference implementation of the standard does the same.
# Meaning: a network trained on librosa's spectrum hears another one if the operator replaces it in an export. Export
#   the matrix as a constant.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3}" -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check librosa==0.11.0 numpy==2.4.6 onnx==1.23.2 onnxruntime==1.31.1
venv/bin/python - <<'EOF'
import librosa
import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

N_FILTERS, N_FFT, RATE_HZ = 40, 512, 16000
values = [np.array(N_FILTERS), np.array(N_FFT), np.array(RATE_HZ), np.float32(0), np.float32(RATE_HZ / 2)]
constants = [numpy_helper.from_array(np.asarray(value), f"x{n}") for n, value in enumerate(values)]
node = helper.make_node("MelWeightMatrix", [constant.name for constant in constants], ["y"])
wanted = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
graph = helper.make_graph([node], "g", [], [wanted], constants)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
(of_onnx,) = session.run(None, {})
of_librosa = librosa.filters.mel(sr=RATE_HZ, n_fft=N_FFT, n_mels=N_FILTERS, htk=True, norm=None).T

for name, matrix in (("ONNX", of_onnx), ("librosa", of_librosa)):
    bins_hz = np.arange(len(matrix)) * RATE_HZ / N_FFT
    peak_hz, end_hz = bins_hz[matrix[:, -1].argmax()], bins_hz[np.flatnonzero(matrix[:, -1]).max()]
    print(f"{name}: last filter has its peak at {peak_hz:.0f} Hz and ends at {end_hz:.0f} Hz;"
          f" bins of the first five {(matrix[:, :5] > 0).sum(axis=0)}")
difference = np.abs(of_onnx - of_librosa).max()
print(f"largest difference {difference:.2f}")
assert difference > 0.9 and not of_onnx[240:].any() and of_librosa[254:, -1].any()
EOF
