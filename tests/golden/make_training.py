"""Golden files of optimisers, random numbers, dtypes and the methods' formulas; make.py runs it."""
import math, struct

import numpy as np
import torch

from golden import Goldens, rand


def optimisers():
    def adamw(name, groups, betas=(0.9, 0.95), eps=1e-8):
        """groups: [(lr, weight decay, [shape, ...])]; five steps on given gradients."""
        params = [[rand(*s) for s in shapes] for _, _, shapes in groups]
        leaves = [[p.clone().requires_grad_() for p in ps] for ps in params]
        opt = torch.optim.AdamW([{"params": ps, "lr": lr, "weight_decay": wd} for ps, (lr, wd, _) in zip(leaves, groups)], betas=betas, eps=eps)
        inputs = {f"p{i}.{j}": p for i, ps in enumerate(params) for j, p in enumerate(ps)}
        outputs = {}
        for step in range(1, 6):
            for i, ps in enumerate(leaves):
                for j, p in enumerate(ps):
                    p.grad = rand(*p.shape, scale=0.25)
                    inputs[f"g{i}.{j}@{step}"] = p.grad
            opt.step()
            outputs |= {f"p{i}.{j}@{step}": p.detach().clone() for i, ps in enumerate(leaves) for j, p in enumerate(ps)}
        for i, ps in enumerate(leaves):
            for j, p in enumerate(ps):
                outputs |= {f"m{i}.{j}@5": opt.state[p]["exp_avg"], f"v{i}.{j}@5": opt.state[p]["exp_avg_sq"]}
        g.add(name, inputs, {"beta1": betas[0], "beta2": betas[1], "eps": eps, "groups": [{"lr": lr, "weightDecay": wd} for lr, wd, _ in groups]}, outputs)

    def clip(name, limit, *shapes):
        grads = [rand(*s) for s in shapes]
        leaves = [torch.zeros(s).requires_grad_() for s in shapes]
        for leaf, grad in zip(leaves, grads):
            leaf.grad = grad.clone()
        norm = torch.nn.utils.clip_grad_norm_(leaves, limit)
        g.add(name, {f"g{i}": t for i, t in enumerate(grads)}, {"maxNorm": limit}, {"norm": norm} | {f"g{i}": p.grad for i, p in enumerate(leaves)})

    def cosine(name, base, minimum, start, warmup, total):
        lr = lambda t: start + (base - start) * t / warmup if t < warmup else \
            minimum + 0.5 * (base - minimum) * (1 + math.cos(math.pi * (t - warmup) / (total - warmup)))
        g.add(name, {"step": torch.arange(total + 1)}, {"lr": base, "minLr": minimum, "startLr": start, "warmup": warmup, "total": total},
              {"lr": torch.tensor([lr(t) for t in range(total + 1)])})

    with Goldens("optim.json") as g:
        adamw("adamw one group", [(1e-2, 0.1, [(3, 4), (4,)])])
        adamw("adamw three groups", [(1e-2, 0.1, [(2, 3)]), (1e-2, 0.0, [(3,)]), (1e-3, 0.05, [(2, 2)])], betas=(0.9, 0.999))
        adamw("adamw eps counts", [(1e-2, 0.0, [(5,)])], eps=0.5)
        decay, ema, steps = 0.875, rand(6), [rand(6) for _ in range(5)]
        inputs, outputs, average = {"ema": ema} | {f"p@{i + 1}": p for i, p in enumerate(steps)}, {}, ema
        for i, p in enumerate(steps):
            average = decay * average + (1 - decay) * p
            outputs[f"ema@{i + 1}"] = average
        g.add("ema", inputs, {"decay": decay}, outputs)
        clip("clip_grad_norm_ clips", 1.0, (3, 2), (4,))
        clip("clip_grad_norm_ leaves alone", 100.0, (3, 2), (4,))
        cosine("cosine with warm-up", 1e-3, 1e-5, 0.0, 5, 25)
        cosine("cosine with warm-up from 1e-6", 4e-3, 0.0, 1e-6, 3, 10)
        cosine("cosine without warm-up", 1.0, 0.1, 0.0, 0, 8)


def philox4x32(counter, key, rounds=10):
    """Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3", the 4x32 variant."""
    c, k, mask = list(counter), list(key), 0xFFFFFFFF
    for _ in range(rounds):
        p0, p1 = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(p1 >> 32) ^ c[1] ^ k[0], p1 & mask, (p0 >> 32) ^ c[3] ^ k[1], p0 & mask]
        k = [(k[0] + 0x9E3779B9) & mask, (k[1] + 0xBB67AE85) & mask]
    return c


# The three known answers of Random123 (tests/kat_vectors, "philox4x32 10"): counter, key, result.
KNOWN = (("00000000 " * 4, "00000000 " * 2, "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
         ("ffffffff " * 4, "ffffffff " * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
         ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"))


def philox():
    words = lambda text: [int(w, 16) for w in text.split()]
    with Goldens("philox.json") as g:
        entry = lambda name, c, k: g.add(name, {"counter": torch.tensor(c), "key": torch.tensor(k)}, {"rounds": 10}, {"y": torch.tensor(philox4x32(c, k))})
        for name, known in zip(("known answer zero", "known answer ones", "known answer pi"), KNOWN):
            c, k, want = map(words, known)
            assert philox4x32(c, k) == want, name
            entry(name, c, k)
        for i in range(4):
            entry(f"consecutive counter {i}", [i, 0, 0, 0], [42, 0])
        entry("high counter words", [0, 1, 2, 3], [0x89ABCDEF, 0x01234567])


def narrow_floats():
    """float32 bit patterns and the bits after rounding to nearest even; every NaN input must stay a NaN (any payload)."""
    values = [0.0, -0.0, 1.0, -1.0, 0.1, 1 / 3, 3.14159265, 65504.0, 65519.996, 65520.0, 1e5, 3.3895314e38, 3.4e38, 1e-40, -1e-45, 6.1035156e-05, 6.097555e-05,
              5.9604645e-08, 2.9802322e-08, 2.9802326e-08, 8.940697e-08, 1e-8, float("inf"), -float("inf")]
    bits = [struct.unpack("<I", struct.pack("<f", v))[0] for v in values]
    # Around ties: bf16 drops 16 bits, f16 drops 13.
    bits += [0x3F800000 + d for d in (0x7FFF, 0x8000, 0x8001, 0x18000, 0x17FFF, 0x18001, 0x0FFF, 0x1000, 0x1001, 0x3000, 0x2FFF, 0x3001)]
    bits += [0x7F7F8000, 0x7F7F7FFF, 0xFF7FFFFF, 0x00008000, 0x00018000, 0x00008001, 0x80018000, 0x007FFFFF, 0x38800000, 0x387FE000, 0x387FF000, 0x33000000, 0x33000001, 0x33C00000]
    bits += np.random.default_rng(11).integers(0, 2**32, 40, dtype=np.uint64).astype(int).tolist()
    nans = [0x7FC00000, 0xFFC00000, 0x7F800001, 0x7FFFFFFF, 0xFF800001]
    bits = [b for b in bits if (b & 0x7FFFFFFF) <= 0x7F800000]
    floats = torch.from_numpy(np.array(bits + nans, dtype=np.uint32).view(np.float32).copy())
    with Goldens("dtype.json") as g:
        for name, dtype, kind in (("bf16", torch.bfloat16, np.uint16), ("f16", torch.float16, np.uint16)):
            y = floats.to(dtype)
            back = y.float().numpy().view(np.uint32).astype(np.int64)[: len(bits)]
            half = y.view(torch.int16).numpy().view(kind).astype(np.int64)
            g.add(f"f32 to {name}", {"bits": torch.tensor(bits)}, {}, {"bits": torch.from_numpy(half[: len(bits)]), "backToF32Bits": torch.from_numpy(back)})
            g.add(f"f32 NaN to {name}", {"bits": torch.tensor(nans)}, {"expect": "NaN"}, {})


def methods():
    def low_frequency_crop(x, b):
        """EfficientTrain, section 3.2: the B x B corner frequencies of fft2, scaled by (B/S)^2, real part of the inverse."""
        s, h = x.shape[-1], b // 2
        f, ends = np.fft.fft2(x), np.r_[0:h, s - h:s]
        return np.fft.ifft2(f[..., ends[:, None], ends] * (b / s) ** 2).real

    with Goldens("methods.json") as g:
        for s, b in ((12, 8), (10, 6), (8, 8), (9, 4)):
            x = rand(1, 2, s, s)
            g.add(f"low-frequency crop {s} to {b}", {"x": x}, {"B": b}, {"y": torch.from_numpy(low_frequency_crop(x.numpy(), b))})
        wave = lambda n, f: torch.cos(2 * math.pi * f * torch.arange(n) / n).repeat(n, 1)[None, None]
        for f in (2, 5):  # kept, removed: known without any transform
            y = wave(8, f) if f < 4 else torch.zeros(1, 1, 8, 8)
            assert np.allclose(low_frequency_crop(wave(12, f).numpy(), 8), y, atol=1e-12)
            g.add(f"low-frequency crop of a cosine, {f} periods", {"x": wave(12, f)}, {"B": 8}, {"y": y})

        def adain(x, style, eps):
            sd = lambda t: t.std((-2, -1), keepdim=True, unbiased=True)
            mean = lambda t: t.mean((-2, -1), keepdim=True)
            return sd(style) * (x - mean(x)) / (sd(x) + eps) + mean(style)

        x, style = rand(2, 3, 4, 5), rand(2, 3, 4, 5, scale=2) + 1
        flat = x.clone()
        flat[0, 0] = 0.5
        for name, a, b in (("adain", x, style), ("adain of a constant channel", flat, style), ("adain of a reversed batch", x, x.flip(0))):
            g.add(name, {"x": a, "style": b}, {"eps": 1e-6, "sigma": "unbiased"}, {"y": adain(a, b, 1e-6)})

        phi, quantile = torch.special.ndtr, torch.special.ndtri
        z = torch.tensor([-6.0, -4, -3, -2, -1, -0.5, 0, 0.25, 1, 1.5, 2, 3, 4, 6])
        g.add("normal cdf", {"x": z}, {}, {"cdf": phi(z)})
        u = torch.tensor([2.0**-20, 0.001, 0.01, 0.125, 0.25, 0.5, 0.75, 0.9, 0.99, 0.999, 1 - 2.0**-20])
        g.add("normal quantile", {"u": u}, {}, {"x": quantile(u)})
        for mu, sd, low, high in ((0.45, 0.25, 0.4, 1.0), (0.0, 0.02, -0.04, 0.04), (0.0, 1.0, 1.0, 2.0)):
            a, b = (phi(torch.tensor((t - mu) / sd)) for t in (low, high))
            x, p = torch.linspace(low, high, 9), torch.linspace(0, 1, 9)
            g.add(f"truncated normal mu {mu} sd {sd} on [{low}, {high}]", {"x": x, "u": p}, {"mean": mu, "sd": sd, "low": low, "high": high},
                  {"cdf": (phi((x - mu) / sd) - a) / (b - a), "quantile": (mu + sd * quantile(a + p * (b - a))).clamp(low, high)})


def loss_scale():
    """What torch.amp.GradScaler does to its scale after steps whose gradients are finite (0) or not (1)."""
    with Goldens("loss-scale.json") as g:
        for name, growth, backoff, interval, found in (("grows", 2.0, 0.5, 3, "0000000"), ("backs off", 2.0, 0.5, 3, "0110100010000"),
                                                       ("other factors", 4.0, 0.25, 2, "001000010000")):
            scale, tracker, scales, trackers = torch.tensor(1024.0, dtype=torch.float32), torch.tensor(0, dtype=torch.int32), [], []
            for bad in found:
                torch._amp_update_scale_(scale, tracker, torch.tensor(float(bad), dtype=torch.float32), growth, backoff, interval)
                scales.append(scale.item())
                trackers.append(tracker.item())
            g.add(name, {"overflow": torch.tensor([int(c) for c in found])}, {"initial": 1024, "growth": growth, "backoff": backoff, "interval": interval},
                  {"scale": torch.tensor(scales), "finiteSteps": torch.tensor(trackers)})


FILES = (optimisers, philox, narrow_floats, methods, loss_scale)
