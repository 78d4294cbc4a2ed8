"""GPT-2 (Radford et al. 2019) on hash-defined weights and token chains: ../README.md has both definitions.

python3 gpt2.py --size tiny --curve 100                         # loss curves on the CPU: f32, and bf16 autocast
python3 gpt2.py --size tiny --curve 100 --golden FILE
python3 gpt2.py --size small --device cuda --curve 100          # the curves of GPT-2-small
python3 gpt2.py --size small --device cuda --reps 20 --compile  # tokens/s and peak memory, eager and compiled
"""
import common

common.parser.add_argument("--size", choices=["tiny", "small"], default="tiny")
common.parser.add_argument("--device", default="cpu")
common.parser.add_argument("--curve", type=int, default=0, help="steps of the loss curves; 0 measures speed instead")
common.parser.add_argument("--rows", type=int, help="of the token table: a multiple of 64 spares PyTorch's eager mode a slow product")
common.parser.add_argument("--types", default="f32,bf16", help="of the curves")
args = common.parse_args()
import json, math, statistics, time  # noqa: E402

import numpy as np  # noqa: E402
import torch  # noqa: E402

F = torch.nn.functional
CHAINS = 4  # stream of the hash that gives the successors of a state

SIZES = {  # vocabulary, context, width, layers, heads, batch
    "tiny": (512, 64, 128, 4, 4, 8),
    "small": (50257, 1024, 768, 12, 12, 16),
}
VOCABULARY, T, D, LAYERS, HEADS, BATCH = SIZES[args.size]
ROWS = args.rows or VOCABULARY
LR, WARMUP = {"tiny": (1e-3, 10), "small": (3e-4, 100)}[args.size]
BETAS, DECAY = (0.9, 0.95), 0.1


def spec():
    """(name, shape, what) of every parameter, in the order of the published checkpoints; matrices are [in, out]."""
    yield from (("wte.weight", (VOCABULARY, D), -13), ("wpe.weight", (T, D), -13))
    for i in range(LAYERS):
        h = f"h.{i}."
        yield from ((h + "ln_1.weight", (D,), "1"), (h + "ln_1.bias", (D,), "0"))
        yield from ((h + "attn.c_attn.weight", (D, 3 * D), -13), (h + "attn.c_attn.bias", (3 * D,), "0"))
        yield from ((h + "attn.c_proj.weight", (D, D), -15), (h + "attn.c_proj.bias", (D,), "0"))
        yield from ((h + "ln_2.weight", (D,), "1"), (h + "ln_2.bias", (D,), "0"))
        yield from ((h + "mlp.c_fc.weight", (D, 4 * D), -13), (h + "mlp.c_fc.bias", (4 * D,), "0"))
        yield from ((h + "mlp.c_proj.weight", (4 * D, D), -15), (h + "mlp.c_proj.bias", (D,), "0"))
    yield from (("ln_f.weight", (D,), "1"), ("ln_f.bias", (D,), "0"))


def parameters():
    values, at = {}, 0
    for name, shape, what in spec():
        fixed = isinstance(what, str)
        values[name] = torch.full(shape, float(what)) if fixed else common.normal(common.PARAMETERS, at, shape, what).float()
        at += math.prod(shape)
    values["wte.weight"] = F.pad(values["wte.weight"], (0, 0, 0, ROWS - VOCABULARY))
    return values


def chains(first, rows):
    """Token ids int64 [rows, T + 1] of the chains `first`, `first` + 1, ..."""
    states = min(1024, VOCABULARY)
    start = (np.arange(first, first + rows) * (T + 1)).astype(np.uint64)
    s = common.hashed(common.IDS, start) % states
    out = [s]
    for t in range(1, T + 1):
        s = common.hashed(CHAINS, 4 * s.astype(np.uint64) + common.hashed(common.IDS, start + np.uint64(t)) % 4) % states
        out.append(s)
    return torch.from_numpy(np.stack(out, 1).astype(np.int64) * (VOCABULARY // states))


class Gpt2(torch.nn.Module):
    def __init__(self):
        super().__init__()
        # matrices stored [out, in], as nn.Linear has them: the layout that PyTorch itself prefers
        self.stored = torch.nn.ParameterDict()
        for name, v in parameters().items():
            matrix = v.dim() == 2 and not name.startswith("w")
            self.stored[name.replace(".", "_")] = torch.nn.Parameter(v.T.contiguous() if matrix else v)

    def p(self, name):
        return self.stored[name.replace(".", "_")]

    def forward(self, ids, targets):
        b, t = ids.shape
        norm = lambda x, n: F.layer_norm(x, (D,), self.p(n + ".weight"), self.p(n + ".bias"), 1e-5)
        linear = lambda x, n: F.linear(x, self.p(n + ".weight"), self.p(n + ".bias"))
        x = F.embedding(ids, self.p("wte.weight")) + self.p("wpe.weight")[:t]
        for i in range(LAYERS):
            h = f"h.{i}"
            q, k, v = (y.view(b, t, HEADS, -1).transpose(1, 2) for y in linear(norm(x, h + ".ln_1"), h + ".attn.c_attn").split(D, 2))
            a = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + linear(a.transpose(1, 2).reshape(b, t, D), h + ".attn.c_proj")
            x = x + linear(F.gelu(linear(norm(x, h + ".ln_2"), h + ".mlp.c_fc"), approximate="tanh"), h + ".mlp.c_proj")
        logits = F.linear(norm(x, "ln_f"), self.p("wte.weight"))
        return F.cross_entropy(logits.view(-1, ROWS).float(), targets.reshape(-1))


def trainer(kind, compiled=False, dtype=torch.float32):
    """A function that takes one train step on a batch and returns the loss tensor. kind: f32, tf32 (f32 whose products round their operands to
    ten bits of mantissa), or bf16 (autocast over f32 parameters)."""
    torch.backends.cuda.matmul.allow_tf32 = kind == "tf32"
    model = Gpt2().to(args.device, dtype)
    forward = torch.compile(model) if compiled else model
    optimizer = torch.optim.AdamW(model.parameters(), lr=LR, betas=BETAS, eps=1e-8, weight_decay=DECAY, fused=True)
    done = 0

    def step(ids):
        nonlocal done
        for group in optimizer.param_groups:
            group["lr"] = LR * min(1, (done + 1) / WARMUP)
        done += 1
        with torch.autocast(args.device.split(":")[0], torch.bfloat16, enabled=kind == "bf16"):
            loss = forward(ids[:, :-1], ids[:, 1:])
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.detach()

    return step


def curve(kind, steps):
    step = trainer(kind)
    return [step(chains(i * BATCH, BATCH).to(args.device)).item() for i in range(steps)]


def speed(compiled):
    """tokens/s of the median step, its peak memory, and the seconds of the first step with everything before it."""
    torch.cuda.reset_peak_memory_stats()
    step = trainer("bf16", compiled)
    batches = [chains(i * BATCH, BATCH).to(args.device) for i in range(6)]
    began = time.perf_counter()
    losses = [step(batches[0]).item()]
    first = time.perf_counter() - began
    losses += [step(b).item() for b in batches[1:]]
    ms = []
    for _ in range(args.reps):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        step(batches[0])
        end.record()
        torch.cuda.synchronize()
        ms.append(begin.elapsed_time(end))
    median = statistics.median(ms)
    return {"ms": round(median, 3), "msAll": [round(x, 2) for x in ms], "tokensPerSecond": round(BATCH * T / median * 1e3),
            "peakBytes": torch.cuda.max_memory_allocated(), "firstStepSeconds": round(first, 2), "losses": losses}


if __name__ == "__main__":
    line = {"peer": f"pytorch-gpt2-{args.size}", "version": torch.__version__, "device": args.device}
    if args.device.startswith("cuda"):
        line["device"] = torch.cuda.get_device_name()
    if args.curve:
        line["curves"] = {}
        for kind in args.types.split(","):
            line["curves"][kind] = curve(kind, args.curve)
            print(json.dumps(line), flush=True)
        if args.golden:
            with open(args.golden, "w") as file:
                file.write(json.dumps({"made": f"bench/peers/pytorch/gpt2.py --size {args.size} --curve {args.curve}"} | line) + "\n")
    else:
        line["eager"] = speed(False)
        print(json.dumps(line), flush=True)
        if args.compile:
            line["compiled"] = speed(True)
    if not args.curve:
        print(json.dumps(line))
