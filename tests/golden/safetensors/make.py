"""Makes golden.safetensors with the public Python package: pip install safetensors==0.8.0 numpy; python make.py"""
import json
import os

import numpy as np
from safetensors.numpy import save_file

here = os.path.dirname(os.path.abspath(__file__))
tensors = {
    "weight": np.array([[1.5, -2.0, 3.25], [0.0, 1e-3, -7.0]], np.float32),
    "half": np.array([0.5, -1.0, 65504.0], np.float16),
    "index": np.array([[1, -2], [3, 2**40]], np.int64),
    "count": np.array([7, -8], np.int32),
    "pixels": np.arange(5, dtype=np.uint8),
    "mask": np.array([True, False, True]),
    "scalar": np.array(2.5, np.float32),
    "empty": np.zeros((0, 4), np.float32),
    "wide": np.array([1.0, 2.0], np.float64),
    "i8.ünïcode": np.array([-128, 127], np.int8),
}
path = os.path.join(here, "golden.safetensors")
save_file(tensors, path, metadata={"format": "np", "note": "made by safetensors"})
with open(os.path.join(here, "golden.json"), "w") as out:
    expected = {k: {"shape": list(v.shape), "values": v.ravel().tolist()} for k, v in tensors.items()}
    json.dump(expected, out, indent=1, sort_keys=True)
    out.write("\n")
