"""bf16 attention of src/bench/cuda/attention.ts by each of PyTorch's kernels, in TFLOP/s: medians of CUDA-event times around
replays of a graph of calls, each on its own operands and with its log-sum-exp, as ours are.

python3 cuda_attention.py
"""
import json, math

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from cuda_replay import replay_ms

SHAPES = [(16, 12, 1024, 64), (4, 16, 4096, 128)]
BACKENDS = {"flash": SDPBackend.FLASH_ATTENTION, "cudnn": SDPBackend.CUDNN_ATTENTION}


def median_ms(prepare, run):
    """Autograd runs a backward pass on the stream of its leaves and of its forward pass: `prepare` is on the captured one, too."""
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        given = prepare()
        run(given)  # chooses the kernel
        stream.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=stream):
            run(given)
        return replay_ms(graph)


def teraflops(backend, b, h, t, e, causal):
    """Forward, backward (which counts as 2.5 forward passes). Operands are [B, T, H, E] in memory, as a projection leaves them."""
    flops = 4 * b * h * t * t * e / (2 if causal else 1)
    calls = min(32, max(4, math.ceil(8e11 / flops)))
    make = lambda: [torch.randn(b, t, h, e, device="cuda", dtype=torch.bfloat16).transpose(1, 2) for _ in range(4)]
    operands = [make() for _ in range(calls)]
    leaves = lambda: [[x.detach().requires_grad_() for x in qkv] for *qkv, _ in operands]
    attend = lambda xs: [torch.nn.functional.scaled_dot_product_attention(*qkv, is_causal=causal) for qkv in xs]
    attended = lambda xs: (xs, attend(xs))
    differentiate = lambda made: [torch.autograd.grad(o, qkv, x[3], retain_graph=True) for qkv, o, x in zip(*made, operands)]
    with sdpa_kernel(backend):
        forward, backward = median_ms(leaves, attend), median_ms(lambda: attended(leaves()), differentiate)
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
