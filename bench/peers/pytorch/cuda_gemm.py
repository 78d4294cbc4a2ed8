"""bf16 products of src/bench/cuda/gemm.ts with torch.matmul, in TFLOP/s: CUDA-event times around replays of a graph that
takes as many operands in turn, and writes as many results, as the second-level cache cannot hold, as ours are.

echo '4096^3' | python3 cuda_gemm.py
"""
import math

import torch

from cuda_replay import serve, turns

TOKENS = 16384
LAYERS = {"qkv": (768, 2304), "proj": (768, 768), "fc": (768, 3072), "fc2": (3072, 768), "head": (768, 50304), "head-50257": (768, 50257)}


def products():
    """(name, shape of a, shape of b, a transposed, b transposed)."""
    for n in (8192, 4096):
        yield f"{n}^3", (n, n), (n, n), False, False
    for name, (i, o) in LAYERS.items():
        yield f"{name} forward", (TOKENS, i), (i, o), False, False
        yield f"{name} dgrad", (TOKENS, o), (i, o), False, True
        yield f"{name} wgrad", (TOKENS, i), (TOKENS, o), True, False


def prepare(name):
    a, b, ta, tb = PRODUCTS[name]
    flops = 2 * a[0] * a[1] * (b[0] if tb else b[1])
    bytes = 2 * (a[0] * a[1] + b[0] * b[1] + flops // (2 * (a[0] if ta else a[1])))
    n = min(16, max(1, math.ceil(4 * 50e6 / bytes)))
    make = lambda shape: [torch.empty(shape, device="cuda", dtype=torch.bfloat16).uniform_(-1, 1) for _ in range(n)]
    xs, ys = make(a), make(b)
    run = lambda: [torch.matmul(x.T if ta else x, y.T if tb else y) for x, y in zip(xs, ys)]
    run()  # chooses the algorithm
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        results = run()  # kept: no two share their memory
    milliseconds = turns(graph)
    return lambda _kept=(xs, ys, results): n * flops / milliseconds() / 1e9


PRODUCTS = {name: product for name, *product in products()}
serve(prepare)
