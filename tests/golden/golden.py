"""Random inputs and the file format of the golden files (README.md)."""
import json, math, os
import numpy as np
import torch

HERE = os.path.dirname(os.path.abspath(__file__))
torch.set_default_dtype(torch.float64)
torch.manual_seed(7)
rng = np.random.default_rng(7)


def rand(*shape, scale=1.0):
    """Normal values rounded to multiples of 1/64: exact in float32, and even in bfloat16 when small."""
    return torch.from_numpy(np.asarray(np.round(rng.standard_normal(shape) * scale * 64) / 64))


def distinct(*shape):
    """Values without ties, in random order, at least 1/8 apart: no finite error changes their order."""
    n = math.prod(shape)
    return torch.from_numpy((rng.permutation(n) - n // 2).reshape(shape) / 8)


def ints(high, *shape):
    return torch.from_numpy(rng.integers(0, high, shape))


def pack(t, digits=17):
    """Inputs keep all digits (most have few: multiples of 1/64); results get ten, ample for float32 tests."""
    floating = t.is_floating_point()
    data = [float(f"{v:.{digits}g}") if floating else v for v in t.detach().flatten().tolist()]
    return {"shape": list(t.shape), "dtype": "float" if floating else "int", "data": [int(v) if v == int(v) else v for v in data]}


class Goldens:
    """The cases of one file. `case` runs f on its inputs, in order, and differentiates <y, upstream> by every float input."""

    def __init__(self, file, script="make.py"):
        self.file, self.script, self.cases = file, script, []

    def __enter__(self):
        return self

    def __exit__(self, failure, *_):
        if failure is None:
            lines = ",\n".join(json.dumps(c, separators=(",", ":"), allow_nan=False) for c in self.cases)
            with open(os.path.join(HERE, self.file), "w") as out:
                out.write(f'{{"made":"tests/golden/{self.script}, torch {torch.__version__}, numpy {np.__version__}","cases":[\n{lines}\n]}}\n')

    def case(self, name, f, inputs, attrs=None, wrt=None):
        leaves = {k: v.clone().requires_grad_(v.is_floating_point() and (wrt is None or k in wrt)) for k, v in inputs.items()}
        y = f(*leaves.values())
        outputs = y if isinstance(y, dict) else {"y": y}
        up = {k: rand(*v.shape) for k, v in outputs.items() if v.requires_grad}
        if up:
            sum((outputs[k] * u).sum() for k, u in up.items()).backward()
        entry = self.add(name, inputs, attrs, outputs)
        if up:
            entry["upstream"] = {k: pack(v) for k, v in up.items()}
            entry["grads"] = {k: pack(v.grad, 10) for k, v in leaves.items() if v.grad is not None}

    def add(self, name, inputs, attrs, outputs):
        entry = {"name": name, "inputs": {k: pack(v) for k, v in inputs.items()}, "attrs": attrs or {},
                 "outputs": {k: pack(v, 10) for k, v in outputs.items()}}
        self.cases.append(entry)
        return entry
