"""bf16 attention of src/bench/cuda/attention.ts by each of PyTorch's kernels, in TFLOP/s: medians of CUDA-event times of calls in a row.

python3 cuda_attention.py
"""
import json, math, statistics

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

SHAPES = [(16, 12, 1024, 64), (4, 16, 4096, 128)]
BACKENDS = {"flash": SDPBackend.FLASH_ATTENTION, "cudnn": SDPBackend.CUDNN_ATTENTION}


def median_ms(run):
    for _ in range(3):
        run()
    ms = []
    for _ in range(15):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        run()
        end.record()
        torch.cuda.synchronize()
        ms.append(start.elapsed_time(end))
    return statistics.median(ms)


def teraflops(backend, b, h, t, e, causal):
    """Forward, backward (which counts as 2.5 forward passes). Operands are [B, T, H, E] in memory, as a projection leaves them."""
    flops = 4 * b * h * t * t * e / (2 if causal else 1)
    calls = min(32, max(4, math.ceil(8e11 / flops)))
    make = lambda: [torch.randn(b, t, h, e, device="cuda", dtype=torch.bfloat16).transpose(1, 2) for _ in range(4)]
    operands = [make() for _ in range(calls)]
    for q, k, v, _ in operands:
        for x in (q, k, v):
            x.requires_grad_()
    attend = lambda q, k, v: torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=causal)
    with sdpa_kernel(backend):
        with torch.no_grad():
            forward = median_ms(lambda: [attend(q, k, v) for q, k, v, _ in operands])
        outs = [attend(q, k, v) for q, k, v, _ in operands]
        differentiate = lambda out, q, k, v, g: torch.autograd.grad(out, (q, k, v), g, retain_graph=True)
        backward = median_ms(lambda: [differentiate(out, *x) for out, x in zip(outs, operands)])
    return calls * flops / forward / 1e9, calls * 2.5 * flops / backward / 1e9


figures = {}
for b, h, t, e in SHAPES:
    for causal in (True, False):
        for name, backend in BACKENDS.items():
            try:
                both = teraflops(backend, b, h, t, e, causal)
            except RuntimeError:  # a build without this kernel
                continue
            for tflops, direction in zip(both, ("forward", "backward")):
                key = f"B{b} H{h} T{t} E{e} {'causal' if causal else 'full'} {direction}"
                figures[f"{key}, {name}"] = round(tflops, 1)
                figures[f"{key}, best"] = max(figures.get(f"{key}, best", 0), round(tflops, 1))
print(json.dumps({"version": torch.__version__, "figures": figures}))
