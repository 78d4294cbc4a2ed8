"""The memory-bound functions of src/bench/cuda/memory.ts in PyTorch: eager and torch.compile, microseconds.

GPU time by events around replays of a CUDA graph that walks over as many copies of the operands as the second-level cache cannot hold, and so often
that its own launch does not count.
"""
import argparse, json, math, sys

import torch
import torch.nn.functional as F

from cuda_replay import replay_ms

parser = argparse.ArgumentParser()
parser.add_argument("--eager", action="store_true", help="without torch.compile")
parser.add_argument("--only", default="", help="names that contain this")
args = parser.parse_args()

R, D, V = 16384, 768, 50257
CACHE = 50e6
RUNS = 16  # in a replay, at least
bf16, f32, i64 = torch.bfloat16, torch.float32, torch.int64


def filled(spec, seed):
    shape, dtype, below = (*spec, 2)[:3]
    g = torch.Generator("cuda").manual_seed(seed)
    u = torch.rand(shape, generator=g, device="cuda")
    return (u * 2 - 1).to(dtype) if dtype.is_floating_point else (u**3 * below).to(dtype)


x, hidden, row = ((R, D), bf16), ((R, 4 * D), bf16), ((D,), f32)
wide = ((R, 1024), bf16)
logits, labels, per_row = ((4096, V), bf16), ((4096,), i64, V), ((4096,), f32)
aten = torch.ops.aten
fused_only = ("crossEntropy backward [4096, 50257]",)  # written out, so eager would take several passes
cases = {
    "cast f32 -> bf16": ([((R, D), f32)], lambda a: a.to(bf16)),
    "bias": ([x, ((D,), bf16)], lambda a, b: a + b),
    "bias + residual": ([x, x, ((D,), bf16)], lambda a, b, c: a + c + b),
    "bias + gelu (tanh)": ([hidden, ((4 * D,), bf16)], lambda a, b: F.gelu(a + b, approximate="tanh")),
    "gelu (tanh) backward": ([hidden, hidden], lambda dy, a: aten.gelu_backward(dy, a, approximate="tanh")),
    "gelu (erf)": ([hidden], lambda a: F.gelu(a)),
    "dropout + residual": ([x, x], lambda a, b: F.dropout(a, 0.1) + b),
    "transpose of a matrix": ([hidden], lambda a: a.T.contiguous()),
    "permute [B,T,H,E] -> [B,H,T,E]": ([x], lambda a: a.view(16, 1024, 12, 64).transpose(1, 2).contiguous()),
    "bias gradient [16384, 768]": ([x], lambda a: a.sum(0, dtype=f32)),
    "bias gradient [16384, 3072]": ([hidden], lambda a: a.sum(0, dtype=f32)),
    "row sums [16384, 768]": ([x], lambda a: a.sum(1, dtype=f32)),
    "row maxima [16384, 3072]": ([hidden], lambda a: a.amax(1)),
    "sum of squares, 38 M": ([((V, D), f32)], lambda a: a.square().sum()),
    "layerNorm": ([x, ((D,), bf16), ((D,), bf16)], lambda a, g, b: F.layer_norm(a, (D,), g, b)),
    "layerNorm backward": (
        [x, x, ((D,), bf16), ((D,), bf16), ((R, 1), f32), ((R, 1), f32)],
        lambda dy, a, g, b, mean, rstd: aten.native_layer_norm_backward(dy, a, [D], mean, rstd, g, b, [True] * 3),
    ),
    "rmsNorm [4096, 4096]": ([((4096, 4096), bf16), ((4096,), bf16)], lambda a, g: F.rms_norm(a, (4096,), g)),
    "softmax [16384, 1024]": ([wide], lambda a: a.softmax(-1)),
    "softmax backward [16384, 1024]": ([wide, wide], lambda dy, y: aten._softmax_backward_data(dy, y, -1, bf16)),
    "crossEntropy [4096, 50257]": ([logits, labels], lambda a, y: F.cross_entropy(a, y, reduction="none")),
    "crossEntropy backward [4096, 50257]": (
        [logits, labels, per_row, per_row],
        lambda a, y, lse, g: ((a.float() - lse[:, None]).exp() - F.one_hot(y, V)).mul(g[:, None]).to(bf16),
    ),
    "embedding": ([((V, D), bf16), ((R,), i64, V)], lambda w, ids: F.embedding(ids, w)),
    "embedding gradient": ([x, ((R,), i64, V)], lambda dy, ids: aten.embedding_dense_backward(dy, ids, V, -1, False)),
    "argsort [64, 65536]": ([((64, 65536), f32)], lambda a: a.argsort(-1)),
    "top-50 of [64, 50257]": ([((64, V), f32)], lambda a: a.topk(50)),
    "cumsum [4096, 4096]": ([((4096, 4096), f32)], lambda a: a.cumsum(-1)),
    "cumsum over columns [4096, 4096]": ([((4096, 4096), f32)], lambda a: a.cumsum(0)),
}


def size(spec):
    return math.prod(spec[0]) * spec[1].itemsize


def time_us(f, sets):
    walks = math.ceil(RUNS / len(sets))
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for s in sets[:2]:
            f(*s)
        stream.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=stream):
            for _ in range(walks):
                keep = [f(*s) for s in sets]
        ms = replay_ms(graph)
    del keep
    return 1e3 * ms / (walks * len(sets))


def adamw():
    shapes = [(V, D), (1024, D)] + 12 * [(D,), (D,), (D, 3 * D), (3 * D,), (D, D), (D,), (D,), (D,), (D, 4 * D), (4 * D,), (4 * D, D), (D,)] + 2 * [(D,)]
    ps = [filled((s, f32), i).requires_grad_() for i, s in enumerate(shapes)]
    copies = [p.detach().to(bf16) for p in ps]
    for p in ps:
        p.grad = torch.randn_like(p)
    optimizer = torch.optim.AdamW(ps, lr=1e-3, weight_decay=0.1, fused=True, capturable=True)

    def step():
        optimizer.step()
        torch._foreach_copy_(copies, [p.detach() for p in ps])

    return time_us(step, [()] * 3)


# torch.compile takes seconds a function: these are where it fuses more than eager does
compiled = ("bias", "gelu", "dropout", "gradient [", "sum of", "orm", "softmax", "Entropy")
figures = {}
for name, (specs, f) in cases.items():
    if args.only not in name:
        continue
    try:
        total = 2 * size(specs[0]) + sum(size(s) for s in specs[1:])
        sets = [[filled(s, 1000 * k + i) for i, s in enumerate(specs)] for k in range(min(16, max(1, math.ceil(4 * CACHE / total))))]
        if name not in fused_only:
            figures[f"{name} us"] = round(time_us(f, sets), 2)
        if not args.eager and any(c in name for c in compiled):
            figures[f"{name} us, compiled"] = round(time_us(torch.compile(f, dynamic=False), sets), 2)
    except Exception as error:  # one function that fails does not hide the others
        figures[f"{name}: failed"] = str(error).splitlines()[0][:200]
    print({k: v for k, v in figures.items() if k.startswith(name)}, file=sys.stderr, flush=True)
if args.only in "adamw, 148 tensors":
    figures["adamw, 148 tensors us"] = round(adamw(), 2)
print(json.dumps({"version": torch.__version__, "figures": figures}))
