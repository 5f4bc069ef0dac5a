#!/usr/bin/env bash
# Whether a NaN shows in a maximum depends on its place and on the operator in onnxruntime.
#
# Version: onnxruntime 1.31.1, onnx 1.23.2, numpy 2.4.6 (CPU, float32).
# Expected: NaN in, NaN out, as in numpy, PyTorch and the reference implementation of ONNX.
# Seen: ReduceMax of (NaN, 1, 2) is NaN, of (1, NaN, 2) it is 2, while ArgMax of both names the NaN; MaxPool never
#   answers NaN, and of nothing but NaN it answers -3.4e38, the lowest float. Max of two inputs does answer NaN.
# Meaning: a check of a model's output for NaN does not tell that there was one on the way, and maximum and its place
#   contradict each other. Check the input.
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
from onnx.reference import ReferenceEvaluator


def model(operator, inputs, integer=False, **options):
    names = [f"x{n}" for n in range(len(inputs))]
    given = [helper.make_tensor_value_info(n, TensorProto.FLOAT, x.shape) for n, x in zip(names, inputs, strict=True)]
    wanted = helper.make_tensor_value_info("y", TensorProto.INT64 if integer else TensorProto.FLOAT, None)
    graph = helper.make_graph([helper.make_node(operator, names, ["y"], **options)], "g", given, [wanted])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return made, dict(zip(names, inputs, strict=True))


def run(*arguments, **options):
    made, inputs = model(*arguments, **options)
    session = onnxruntime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, inputs)[0].ravel()[0]


nan = np.nan
first, middle, only = (np.array(x, np.float32) for x in ((nan, 1, 2), (1, nan, 2), (nan, nan, nan)))
pooled = {"kernel_shape": [3]}
found = {
    "ReduceMax(NaN, 1, 2)": run("ReduceMax", [first], keepdims=0),
    "ReduceMax(1, NaN, 2)": run("ReduceMax", [middle], keepdims=0),
    "ArgMax(1, NaN, 2)": run("ArgMax", [middle], integer=True, axis=0, keepdims=0),
    "MaxPool(1, NaN, 2)": run("MaxPool", [middle.reshape(1, 1, 3)], **pooled),
    "MaxPool(NaN, NaN, NaN)": run("MaxPool", [only.reshape(1, 1, 3)], **pooled),
    "Max of 1 and NaN": run("Max", [middle[:1], middle[1:2]]),
}
for name, value in found.items():
    print(f"{name} = {value}")
made, inputs = model("ReduceMax", [middle], keepdims=0)
reference = ReferenceEvaluator(made).run(None, inputs)[0]
print("ReduceMax(1, NaN, 2) of the reference implementation =", reference)
values = list(found.values())
assert np.isnan([values[0], values[5], reference]).all() and values[1:4] == [2, 1, 2] and values[4] < -3e38
EOF
