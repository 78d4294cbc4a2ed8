"""Writes the golden files of this folder: python3 tests/golden/make.py   (torch and numpy; README.md has the format)."""
import os

import torch
import torch.nn.functional as F

import make_training
from golden import HERE, Goldens, distinct, ints, rand


def matmul():
    with Goldens("matmul.json") as g:
        for name, a, b in (("2d", (3, 5), (5, 4)), ("batched", (2, 3, 4), (2, 4, 5)), ("broadcast weight", (2, 3, 4), (4, 5)),
                           ("broadcast both", (2, 1, 3, 4), (3, 4, 2)), ("broadcast left", (3, 4), (2, 4, 5))):
            g.case(f"matmul {name}", torch.matmul, {"a": rand(*a), "b": rand(*b)})
        g.case("matmul transposed right", lambda a, b: a @ b.transpose(-1, -2), {"a": rand(2, 3, 4), "b": rand(2, 5, 4)})


def convolution():
    with Goldens("conv.json") as g:
        shapes = (((2, 3, 6, 7), (4, 3, 3, 3), 1, 0, 1), ((2, 3, 6, 7), (4, 3, 3, 3), 1, 1, 1), ((1, 2, 8, 8), (3, 2, 4, 4), 2, 1, 1),
                  ((1, 2, 6, 6), (4, 2, 2, 2), 2, 0, 1), ((1, 2, 9, 8), (2, 2, 3, 2), (2, 1), (0, 1), (2, 3)), ((2, 3, 4, 4), (5, 3, 1, 1), 1, 0, 1))
        for xs, ws, stride, padding, dilation in shapes:
            at = dict(stride=stride, padding=padding, dilation=dilation)
            g.case(f"conv2d s{stride} p{padding} d{dilation} k{ws[2:]}", lambda x, w, b: F.conv2d(x, w, b, **at),
                   {"x": rand(*xs), "w": rand(*ws, scale=0.5), "b": rand(ws[0])}, at)
        for xs, ws, stride, padding, extra, dilation in (((2, 3, 4, 5), (3, 2, 2, 2), 2, 0, 0, 1), ((1, 2, 5, 5), (2, 3, 3, 3), 1, 1, 0, 1),
                                                         ((1, 2, 4, 4), (2, 2, 4, 4), 2, 1, 0, 1), ((1, 2, 4, 3), (2, 3, 3, 2), (2, 3), (1, 0), (1, 2), (2, 1))):
            at = dict(stride=stride, padding=padding, output_padding=extra, dilation=dilation)
            g.case(f"conv_transpose2d s{stride} p{padding} o{extra} d{dilation} k{ws[2:]}", lambda x, w, b: F.conv_transpose2d(x, w, b, **at),
                   {"x": rand(*xs), "w": rand(*ws, scale=0.5), "b": rand(ws[1])}, at)


def norms():
    with Goldens("norm.json") as g:
        for eps in (1e-5, 1e-3):
            g.case(f"layer_norm eps {eps}", lambda x, g, b: F.layer_norm(x, (6,), g, b, eps), {"x": rand(2, 3, 6), "g": rand(6), "b": rand(6)}, {"eps": eps})
        g.case("layer_norm plain", lambda x: F.layer_norm(x, (6,), eps=1e-5), {"x": rand(4, 6)}, {"eps": 1e-5})
        g.case("rms_norm", lambda x, g: F.rms_norm(x, (6,), g, 1e-6), {"x": rand(2, 3, 6), "g": rand(6)}, {"eps": 1e-6})
        for axis in (-1, 1):
            g.case(f"softmax axis {axis}", lambda x: F.softmax(x, axis), {"x": rand(2, 3, 5, scale=2)}, {"axis": axis})
            g.case(f"log_softmax axis {axis}", lambda x: F.log_softmax(x, axis), {"x": rand(2, 3, 5, scale=2)}, {"axis": axis})
        large = torch.tensor([[1000.0, 999.0, -1000.0], [-88.0, -89.5, -90.0]])
        g.case("softmax large", lambda x: F.softmax(x, -1), {"x": large}, {"axis": -1})
        g.case("log_softmax large", lambda x: F.log_softmax(x, -1), {"x": large}, {"axis": -1})


def losses():
    with Goldens("loss.json") as g:
        labels, ignored = ints(7, 5), torch.tensor([3, -100, 0, 6, -100])
        for reduction in ("mean", "sum", "none"):
            g.case(f"cross_entropy labels {reduction}", lambda x, labels: F.cross_entropy(x, labels, reduction=reduction),
                   {"x": rand(5, 7), "labels": labels}, {"reduction": reduction})
        for smoothing in (0, 0.1):
            at = {"reduction": "mean", "ignoreIndex": -100, "labelSmoothing": smoothing}
            g.case(f"cross_entropy ignored labels, smoothing {smoothing}", lambda x, labels: F.cross_entropy(x, labels, label_smoothing=smoothing),
                   {"x": rand(5, 7), "labels": ignored}, at)
            soft = torch.round(F.softmax(rand(5, 7), -1) * 256) / 256
            at = {"reduction": "mean", "labelSmoothing": smoothing}
            g.case(f"cross_entropy soft targets, smoothing {smoothing}", lambda x, targets: F.cross_entropy(x, targets, label_smoothing=smoothing),
                   {"x": rand(5, 7), "targets": soft}, at, wrt=["x"])


def pointwise():
    x = torch.tensor([-30, -10, -6, -4.5, -3, -2, -1.25, -1, -0.75, -0.5, -0.125, -1 / 1024, 0, 1 / 1024, 0.125, 0.5, 0.75, 1, 1.25, 2, 3, 4.5, 6, 10, 30])
    table = {"gelu exact": F.gelu, "gelu tanh": lambda x: F.gelu(x, approximate="tanh"), "silu": F.silu, "relu": F.relu, "tanh": torch.tanh,
             "erf": torch.erf, "sigmoid": torch.sigmoid, "softplus": F.softplus, "exp": torch.exp}
    with Goldens("pointwise.json") as g:
        for name, f in table.items():
            g.case(name, f, {"x": x[:-1] if name == "exp" else x})
        for name, f in {"log": torch.log, "sqrt": torch.sqrt, "rsqrt": torch.rsqrt, "reciprocal": torch.reciprocal}.items():
            g.case(name, f, {"x": torch.tensor([2.0**-20, 0.125, 0.5, 0.75, 1, 1.25, 2, 3, 10, 4096])})
        for name, f in {"sin": torch.sin, "cos": torch.cos}.items():
            g.case(name, f, {"x": torch.tensor([-100, -3.25, -1.5, 0, 0.75, 1.5, 3.125, 6.25, 100])})


def attention():
    def run(g, name, q, kv, causal=False, mask=None, heads_ratio=1):
        inputs = {"q": rand(*q), "k": rand(*kv), "v": rand(*kv)} | ({"mask": mask} if mask is not None else {})
        at = {"causal": causal, "scale": q[-1] ** -0.5, "gqa": heads_ratio}
        f = lambda q, k, v, mask=None: F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal, enable_gqa=heads_ratio > 1)
        g.case(name, f, inputs, at, wrt=["q", "k", "v"])

    with Goldens("attention.json") as g:
        run(g, "full", (2, 2, 5, 4), (2, 2, 5, 4))
        run(g, "causal", (2, 2, 5, 4), (2, 2, 5, 4), causal=True)
        run(g, "full, 3 queries on 6 keys", (1, 2, 3, 4), (1, 2, 6, 4))
        run(g, "gqa full", (1, 4, 3, 4), (1, 2, 5, 4), heads_ratio=2)
        run(g, "gqa causal", (1, 4, 5, 4), (1, 2, 5, 4), causal=True, heads_ratio=2)
        run(g, "multi-query causal", (1, 4, 5, 4), (1, 1, 5, 4), causal=True, heads_ratio=4)
        run(g, "additive mask", (1, 2, 3, 4), (1, 2, 5, 4), mask=rand(1, 2, 3, 5))


def indexing():
    with Goldens("index.json") as g:
        g.case("embedding", lambda ids, table: F.embedding(ids, table), {"ids": torch.tensor([[1, 4, 1], [0, 1, 5]]), "table": rand(6, 4)})
        for axis in (0, 1):
            index = ints(3, 3, 4)
            g.case(f"gather axis {axis}", lambda x, index: x.gather(axis, index), {"x": rand(3, 4) if axis else rand(3, 5), "index": index}, {"axis": axis})
            g.case(f"scatter_add axis {axis}", lambda x, index, source: x.scatter_add(axis, index, source),
                   {"x": rand(4, 5), "index": ints(4, 3, 4), "source": rand(3, 4)}, {"axis": axis})
            g.case(f"index_select axis {axis}", lambda x, index: x.index_select(axis, index), {"x": rand(3, 4, 2), "index": torch.tensor([2, 0, 2, 1, 2])}, {"axis": axis})
            for back in (False, True):
                g.case(f"sort axis {axis} descending {back}", lambda x: dict(zip(("values", "indices"), x.sort(dim=axis, descending=back))),
                       {"x": distinct(4, 5)}, {"axis": axis, "descending": back})
        for back in (False, True):
            g.case(f"argsort stable with ties, descending {back}", lambda x: x.argsort(dim=-1, descending=back, stable=True),
                   {"x": ints(4, 3, 12).to(torch.float64)}, {"axis": -1, "descending": back}, wrt=[])
            g.case(f"topk largest {not back}", lambda x: dict(zip(("values", "indices"), x.topk(3, dim=-1, largest=not back, sorted=True))),
                   {"x": distinct(2, 8)}, {"k": 3, "axis": -1, "largest": not back})
        for axis in (0, 1, -1):
            g.case(f"cumsum axis {axis}", lambda x: x.cumsum(axis), {"x": rand(3, 4, 2)}, {"axis": axis})


def images():
    with Goldens("image.json") as g:
        for size_in, size_out in (((5, 7), (8, 11)), ((4, 4), (8, 8)), ((9, 8), (4, 5)), ((8, 8), (7, 7)), ((6, 6), (6, 6))):
            g.case(f"bicubic {size_in} to {size_out}", lambda x: F.interpolate(x, size_out, mode="bicubic", align_corners=False, antialias=False),
                   {"x": rand(1, 2, *size_in)}, {"size": size_out, "a": -0.75})
        turn = [[[0.875, -0.5, 0.125], [0.5, 0.875, -0.25]], [[-1, 0.0625, 0.03125], [0.1875, 1.125, 0.4375]]]
        warp = lambda x, theta, size: F.grid_sample(x, F.affine_grid(theta, [*x.shape[:2], *size], align_corners=False),
                                                    mode="bilinear", padding_mode="zeros", align_corners=False)
        for size in ((5, 6), (4, 7)):
            g.case(f"affine_grid + grid_sample to {size}", lambda x, theta: warp(x, theta, size), {"x": rand(2, 2, 5, 6), "theta": torch.tensor(turn)}, {"size": size})
        for name, theta in (("identity", [[[1.0, 0, 0], [0, 1, 0]]]), ("horizontal flip", [[[-1.0, 0, 0], [0, 1, 0]]])):  # on pixel centres: no theta gradient there
            g.case(f"affine {name}", lambda x, theta: warp(x, theta, (4, 4)), {"x": rand(1, 2, 4, 4), "theta": torch.tensor(theta)}, {"size": (4, 4)}, wrt=["x"])
        g.case("affine_grid", lambda theta: F.affine_grid(theta, [2, 1, 3, 4], align_corners=False), {"theta": torch.tensor(turn)}, {"size": (3, 4)})
        g.case("grid_sample", lambda x, grid: F.grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=False),
               {"x": rand(1, 2, 4, 5), "grid": rand(1, 3, 3, 2, scale=0.6) + 1 / 128})


def packed_attention():
    def run(g, name, offsets, causal):
        cuts = list(zip(offsets[:-1], offsets[1:]))
        each = lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=causal, enable_gqa=True)
        f = lambda q, k, v, offsets: torch.cat([each(*(x[:, :, a:b] for x in (q, k, v))) for a, b in cuts if b > a], 2)
        inputs = {"q": rand(1, 4, offsets[-1], 4), "k": rand(1, 2, offsets[-1], 4), "v": rand(1, 2, offsets[-1], 4), "offsets": torch.tensor(offsets)}
        g.case(name, f, inputs, {"causal": causal, "scale": 0.5}, wrt=["q", "k", "v"])

    with Goldens("attention-packed.json") as g:
        run(g, "three sequences", [0, 3, 4, 9], False)
        run(g, "causal, one of them empty", [0, 5, 5, 11], True)


def linear_losses():
    """F.cross_entropy(cap(e c^T + bias)) and a z-loss; targets of -100 are ignored, row i predicts targets[i + shift]."""
    def run(g, name, softCap=0, shift=0, zLoss=0, reduction="mean", rows=(6,), bias=True):
        def loss(e, c, targets, bias=None):
            a = e @ c.T + (0 if bias is None else bias)
            a = softCap * torch.tanh(a / softCap) if softCap else a
            t = torch.cat([targets[..., shift:], torch.full((*targets.shape[:-1], shift), -100)], -1)
            losses = F.cross_entropy(a.flatten(0, -2), t.flatten(), reduction=reduction)
            lse = torch.where(t != -100, a.logsumexp(-1), 0)
            if reduction == "none": return {"loss": losses.reshape(t.shape), "lse": lse}
            return {"loss": losses + zLoss * (lse ** 2).sum() / (t != -100).sum(), "lse": lse}
        targets = torch.where(rand(*rows) > 1, -100, ints(37, *rows))
        inputs = {"e": rand(*rows, 9), "c": rand(37, 9), "targets": targets, **({"bias": rand(37)} if bias else {})}
        g.case(name, loss, inputs, dict(softCap=softCap, shift=shift, zLoss=zLoss, reduction=reduction))

    with Goldens("linear-loss.json") as g:
        for reduction in ("mean", "sum", "none"):
            run(g, f"linear_cross_entropy {reduction}", reduction=reduction, bias=reduction != "sum", rows=(21,))
        run(g, "linear_cross_entropy soft cap", softCap=2)
        run(g, "linear_cross_entropy shift", shift=2, rows=(3, 7))
        run(g, "linear_cross_entropy z-loss, soft cap, shift", softCap=3, shift=1, zLoss=0.25, rows=(2, 5))


if __name__ == "__main__":
    for write in (matmul, convolution, norms, losses, pointwise, attention, indexing, images, *make_training.FILES, packed_attention, linear_losses):
        write()
    size = sum(os.path.getsize(os.path.join(HERE, f)) for f in os.listdir(HERE) if f.endswith(".json"))
    print(f"{size / 1024:.0f} KiB in {HERE}")
