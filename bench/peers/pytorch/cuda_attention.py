"""bf16 attention of src/bench/cuda/attention.ts by PyTorch's kernels, in TFLOP/s: CUDA-event times around replays of a
graph of calls, each on its own operands and with its log-sum-exp, as ours are. `best`: of those, the one that is faster as it is made ready.

echo 'B16 H12 T1024 E64 causal forward, best' | python3 cuda_attention.py
"""
import math

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from cuda_replay import serve, turns

BACKENDS = {"flash": SDPBackend.FLASH_ATTENTION, "cudnn": SDPBackend.CUDNN_ATTENTION}


def captured(prepare, run):
    """Autograd runs a backward pass on the stream of its leaves and of its forward pass: `prepare` is on the captured one, too."""
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        given = prepare()
        run(given)  # chooses the kernel
        stream.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=stream):
            results = run(given)
        replay_ms = turns(graph)

    def milliseconds(_kept=(given, results)):
        with torch.cuda.stream(stream):
            return replay_ms()

    return milliseconds


def kernel(backend, b, h, t, e, causal, backward):
    """What measures its TFLOP/s; a backward pass counts as 2.5 forward passes. Operands are [B, T, H, E] in memory, as a projection leaves them."""
    flops = 4 * b * h * t * t * e / (2 if causal else 1)
    calls = min(32, max(4, math.ceil(8e11 / flops)))
    make = lambda: [torch.randn(b, t, h, e, device="cuda", dtype=torch.bfloat16).transpose(1, 2) for _ in range(4)]
    operands = [make() for _ in range(calls)]
    leaves = lambda: [[x.detach().requires_grad_() for x in qkv] for *qkv, _ in operands]
    attend = lambda xs: [torch.nn.functional.scaled_dot_product_attention(*qkv, is_causal=causal) for qkv in xs]
    attended = lambda xs: (xs, attend(xs))
    differentiate = lambda made: [torch.autograd.grad(o, qkv, x[3], retain_graph=True) for qkv, o, x in zip(*made, operands)]
    with sdpa_kernel(backend):
        milliseconds = captured(lambda: attended(leaves()), differentiate) if backward else captured(leaves, attend)
    return lambda: calls * (2.5 if backward else 1) * flops / milliseconds() / 1e9


def prepare(name):
    shape, of = name.split(", ")
    *sizes, mask, direction = shape.split(" ")
    sizes = [int(size[1:]) for size in sizes]
    make = lambda backend: kernel(backend, *sizes, mask == "causal", direction == "backward")
    if of in BACKENDS:
        return make(BACKENDS[of])
    best, least = None, 0
    for backend in BACKENDS.values():
        try:
            measure = make(backend)
        except RuntimeError:  # a build without this kernel
            continue
        if (figure := measure()) > least:
            best, least = measure, figure
    return best


serve(prepare)
