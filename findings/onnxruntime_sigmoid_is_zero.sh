#!/usr/bin/env bash
# The sigmoid of onnxruntime is exactly 0 below -18, so that its logarithm is infinite.
#
# Version: onnxruntime 1.31.1, onnx 1.23.2, numpy 2.4.6 (CPU, float32).
# Expected: sigmoid(-20) = 2.1e-9 and sigmoid(-40) = 4.2e-18, which float32 holds easily, as in numpy and PyTorch.
# Seen: both are exactly 0.0, as is all from -18 down; at -16 the value is 47 % too small, at -12 half a percent.
# Meaning: a model exported with probabilities as its output answers log(p) = -inf where PyTorch answered -20. Export
#   the logits, and take the logarithm of the sigmoid outside.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3}" -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check numpy==2.4.6 onnx==1.23.2 onnxruntime==1.31.1
venv/bin/python - <<'EOF'
import numpy as np
import onnxruntime
from onnx import TensorProto, helper

x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n"]) for name in "xy")
graph = helper.make_graph([helper.make_node("Sigmoid", ["x"], ["y"])], "g", [x], [y])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])

logits = np.array([-4, -8, -12, -16, -18, -20, -40, -80], np.float32)
(found,) = session.run(None, {"x": logits})
right = 1 / (1 + np.exp(-logits.astype(float)))
for row in zip(logits, found, right.astype(np.float32), strict=True):
    print("sigmoid(%5.1f) = %.4g, should be %.4g" % row)
assert (found[4:] == 0).all() and (right.astype(np.float32) > 0).all()
assert abs(found[3] / right[3] - 1) > 0.3 and abs(found[0] / right[0] - 1) < 1e-4
EOF
