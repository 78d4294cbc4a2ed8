"""Writes decode.json: python3 tests/golden/make_decode.py   (torch). Writes into a cache and attention over its first keys, in float64."""
import torch
import torch.nn.functional as F

from golden import Goldens, rand


def write(axis, at, n):
    """x with `values` at [at, at + n) of an axis."""
    return lambda x, values: torch.slice_scatter(x, values, dim=axis, start=at, end=at + n)


def attend(length, window):
    """Queries are the last of `length` tokens; k and v have room for more. [B, T, H, E]."""
    def f(q, k, v):
        T = q.shape[1]
        i = torch.arange(length - T, length)[:, None]
        j = torch.arange(k.shape[1])[None]
        seen = (j <= i) & ((j > i - window) if window else torch.ones(()).bool())
        return F.scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), attn_mask=seen, enable_gqa=True).transpose(1, 2)
    return f


with Goldens("decode.json", "make_decode.py") as g:
    for axis, at, n in ((0, 2, 3), (1, 0, 1), (2, 3, 2)):
        shape, part = (6, 4, 5), [6, 4, 5]
        part[axis] = n
        g.case(f"write axis {axis}", write(axis, at, n), {"x": rand(*shape), "values": rand(*part)}, {"axis": axis, "at": at})
    for T, length, window in ((1, 5, 0), (3, 7, 0), (2, 9, 4)):
        g.case(f"attend {T} of {length}, window {window}", attend(length, window), {"q": rand(2, T, 4, 4), "k": rand(2, 9, 2, 4), "v": rand(2, 9, 2, 4)},
               {"length": length, "window": window})
