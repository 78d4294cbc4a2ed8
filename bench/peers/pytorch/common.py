"""What the PyTorch peers share: hash-defined numbers, the timed train loop, one JSON line of results."""
import argparse, json, os, statistics, subprocess, sys, time

parser = argparse.ArgumentParser()
parser.add_argument("--threads", type=int, default=1)
parser.add_argument("--reps", type=int, default=20, help="timed steps after the six whose losses are printed")
parser.add_argument("--compile", action="store_true", help="also measure torch.compile; `ms` is the faster of the two")
parser.add_argument("--compile-timeout", type=float, default=240, help="seconds")
parser.add_argument("--golden", metavar="FILE", help="write the six losses, in float32 and float64, to FILE")
parser.add_argument("--mode", choices=["eager", "compiled"], default="eager", help=argparse.SUPPRESS)


def parse_args():
    """Thread counts go into the environment before torch is imported: its pools read them once."""
    args = parser.parse_known_args()[0]
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(args.threads)
    return args


args = parse_args()
import numpy as np  # noqa: E402
import torch  # noqa: E402

torch.set_num_threads(args.threads)

# Streams of the hash: ../README.md has the definition for other languages.
PARAMETERS, IDS, TARGETS, INPUTS = range(4)


def hashed(stream, index):
    """lowbias32(stream * 0x9E3779B9 + i) for each i of an array, as uint32."""
    x = (index.astype(np.uint64) + stream * 0x9E3779B9).astype(np.uint32)
    x ^= x >> 16
    x *= np.uint32(0x7FEB352D)
    x ^= x >> 15
    x *= np.uint32(0x846CA68B)
    x ^= x >> 16
    return x


def hash32(stream, start, count):
    """The hashes of i in [start, start + count)."""
    return hashed(stream, np.arange(start, start + count, dtype=np.uint64))


def normal(stream, start, shape, log2_scale):
    """(sum of the four bytes - 510) * 2^log2_scale: nearly normal, sd 147.8 * 2^log2_scale, exact in float32."""
    h = hash32(stream, start, int(np.prod(shape)))
    total = sum((h >> s) & 255 for s in (0, 8, 16, 24)).astype(np.int64) - 510
    return torch.from_numpy(np.ldexp(total.astype(np.float64), log2_scale).reshape(shape))


def integers(stream, shape, modulus):
    return torch.from_numpy((hash32(stream, 0, int(np.prod(shape))) % modulus).astype(np.int64).reshape(shape))


def initial_parameters(spec):
    """[(name, shape, kind)] -> {name: float64 tensor}. A 'weight' hashes its index in the flat list of ALL
    parameters, -13 as scale (sd 0.018); a number fills."""
    values, offset = {}, 0
    for name, shape, kind in spec:
        values[name] = normal(PARAMETERS, offset, shape, -13) if kind == "weight" else torch.full(shape, float(kind), dtype=torch.float64)
        offset += int(np.prod(shape))
    return values, offset


def block_spec(i, d):
    """One pre-norm transformer block; weights are [in, out]."""
    return [
        (f"l1g{i}", (d,), 1), (f"l1b{i}", (d,), 0), (f"l2g{i}", (d,), 1), (f"l2b{i}", (d,), 0),
        (f"qkv{i}", (d, 3 * d), "weight"), (f"qkvb{i}", (3 * d,), 0), (f"o{i}", (d, d), "weight"), (f"ob{i}", (d,), 0),
        (f"f1{i}", (d, 4 * d), "weight"), (f"f1b{i}", (4 * d,), 0), (f"f2{i}", (4 * d, d), "weight"), (f"f2b{i}", (d,), 0),
    ]


def block(p, i, x, heads, causal):
    F = torch.nn.functional
    b, t, d = x.shape
    h = F.layer_norm(x, (d,), p[f"l1g{i}"], p[f"l1b{i}"], 1e-5)
    qkv = F.linear(h, p[f"qkv{i}"].T, p[f"qkvb{i}"]).view(b, t, 3, heads, d // heads).permute(2, 0, 3, 1, 4)
    a = F.scaled_dot_product_attention(qkv[0], qkv[1], qkv[2], is_causal=causal).transpose(1, 2).reshape(b, t, d)
    x = x + F.linear(a, p[f"o{i}"].T, p[f"ob{i}"])
    h = F.layer_norm(x, (d,), p[f"l2g{i}"], p[f"l2b{i}"], 1e-5)
    return x + F.linear(F.gelu(F.linear(h, p[f"f1{i}"].T, p[f"f1b{i}"])), p[f"f2{i}"].T, p[f"f2b{i}"])


def train(values, loss_of, dtype, steps, compiled=False, lr=1e-3, weight_decay=0.01):
    """-> ([loss], [ms]) of `steps` whole train steps on one batch, with PyTorch's fused AdamW."""
    # Stored [out, in] and seen transposed, as nn.Linear does: the layout that PyTorch itself prefers.
    matrix = lambda name, v: v.dim() == 2 and name not in ("e", "p")
    leaves, seen = [], {}
    for name, v in values.items():
        leaf = (v.T.contiguous() if matrix(name, v) else v.clone()).to(dtype).requires_grad_()
        leaves.append(leaf)
        seen[name] = leaf
    views = lambda: {n: (s.T if matrix(n, s) else s) for n, s in seen.items()}
    forward = lambda: loss_of(views())
    if compiled:
        forward = torch.compile(forward)
    optimizer = torch.optim.AdamW(leaves, lr=lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=weight_decay, fused=True)
    losses, ms = [], []
    for _ in range(steps):
        start = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        loss = forward()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        ms.append((time.perf_counter() - start) * 1e3)
    return losses, ms


def measure(peer, values, loss_in, **optimiser):
    """Runs one peer and prints its line. `loss_in(dtype)` gives the loss function for that precision."""
    losses, ms = train(values, loss_in(torch.float32), torch.float32, 6 + args.reps, args.mode == "compiled", **optimiser)
    timed = ms[6:]
    line = {"peer": peer, "version": torch.__version__, "threads": args.threads, "mode": args.mode,
            "ms": round(statistics.median(timed), 3), "msAll": [round(x, 3) for x in timed], "losses": losses[:6]}
    if args.compile:
        line |= add_compiled(line)
    if args.golden:
        write_golden(args.golden, peer, values, losses[:6], train(values, loss_in(torch.float64), torch.float64, 6, **optimiser)[0])
    print(json.dumps(line))


def add_compiled(eager):
    """Measures torch.compile in a child process, which a missing compiler or a slow one cannot take down with it."""
    command = [sys.executable, sys.argv[0], "--mode", "compiled", "--threads", str(args.threads), "--reps", str(args.reps)]
    try:
        out = subprocess.run(command, capture_output=True, text=True, timeout=args.compile_timeout)
        if out.returncode:
            raise RuntimeError((out.stderr.strip().splitlines() or ["no message"])[-1][:300])
        compiled = json.loads(out.stdout.strip().splitlines()[-1])
    except (subprocess.TimeoutExpired, RuntimeError, ValueError) as error:
        return {"eagerMs": eager["ms"], "compiledMs": None, "compiledReason": str(error)[:300]}
    both = {"eagerMs": eager["ms"], "compiledMs": compiled["ms"], "compiledLosses": compiled["losses"]}
    faster = {k: compiled[k] for k in ("mode", "ms", "msAll")} if compiled["ms"] < eager["ms"] else {}
    return both | faster


def write_golden(path, peer, values, losses32, losses64):
    flat = torch.cat([v.flatten() for v in values.values()])
    golden = {
        "name": peer, "made": f"bench/peers/pytorch, torch {torch.__version__}",
        "parameters": [{"name": n, "shape": list(v.shape)} for n, v in values.items()], "count": flat.numel(),
        # Proof that another language regenerated the same start: exact sums, since every value is k * 2^-13.
        "check": {"sum": flat.sum().item(), "sumOfSquares": flat.square().sum().item(), "first": flat[:8].tolist()},
        "lossesFloat32": losses32, "lossesFloat64": losses64,
    }
    with open(path, "w") as file:
        file.write(json.dumps(golden) + "\n")
