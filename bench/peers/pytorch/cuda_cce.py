"""The loss of src/bench/cuda/cross-entropy.ts with torch.compile: cross-entropy of bf16 logits and its gradients, in ms (median of CUDA-event
times), and the memory that it takes besides operands and gradients. The naive f32 loss too, where it fits; and, by themselves, the four products
that a loss without stored logits is made of, in blocks of 16,384 classes.

python3 cuda_cce.py
"""
import json, statistics

import torch
import torch.nn.functional as F

N, D, V = 8192, 2304, 256000
torch.manual_seed(0)
e = torch.randn(N, D, device="cuda").bfloat16().requires_grad_()
c = (torch.randn(V, D, device="cuda") * (2 / D**0.5)).bfloat16().requires_grad_()
y = torch.randint(0, V, (N,), device="cuda")


def milliseconds(step):
    times = []
    for _ in range(7):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        step()
        end.record()
        torch.cuda.synchronize()
        times.append(start.elapsed_time(end))
    return statistics.median(times)


def measure(loss):
    def step():
        e.grad = c.grad = None
        loss(e, c, y).backward()

    step()
    step()
    e.grad = c.grad = None
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    step()
    memory = torch.cuda.max_memory_allocated() - before - e.nbytes - c.nbytes
    return milliseconds(step), memory / 1e6


@torch.no_grad()
def products(width=16384):
    g = torch.zeros(N * width, device="cuda", dtype=torch.bfloat16)
    de, dc = torch.zeros_like(e), torch.empty_like(c)
    blocks = [(c[j : j + width], dc[j : j + width], g[: N * min(width, V - j)].view(N, -1)) for j in range(0, V, width)]

    def step():
        for rows, _, out in blocks:
            torch.mm(e, rows.T, out=out)
        for rows, to, out in blocks:
            torch.mm(e, rows.T, out=out)
            torch.addmm(de, out, rows, out=de)
            torch.mm(out.T, e, out=to)

    step()
    return milliseconds(step)


logits = lambda e, c, y: F.cross_entropy((e @ c.T).float(), y)
figures = {}
figures["compiled"], figures["compiled memory"] = measure(torch.compile(logits))
e.grad = c.grad = None
figures["products"] = products()
try:
    figures["naive"], figures["naive memory"] = measure(logits)
except torch.OutOfMemoryError:
    figures["naive"] = figures["naive memory"] = None
print(json.dumps({"version": torch.__version__, "figures": figures}))
