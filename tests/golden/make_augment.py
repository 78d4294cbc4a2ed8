"""Writes augment.json: python3 tests/golden/make_augment.py   (Pillow, numpy and torch; README.md has the format)."""
import os

import numpy as np
import PIL
import torch
from PIL import Image, ImageEnhance, ImageOps

from golden import HERE, Goldens

rng = np.random.default_rng(11)


def picture(h, w, c):
    """Smooth shapes under noise, within 0 to 255: what autocontrast and equalize stretch."""
    y, x = np.mgrid[0:h, 0:w] / max(h, w)
    waves = [np.sin(7 * x + 3 * y + k) * 0.5 + np.cos(5 * y - k) * 0.5 for k in range(c)]
    return np.clip(np.stack(waves, -1) * 70 + 120 + rng.normal(0, 12, (h, w, c)), 0, 255).astype(np.uint8)


def image(a):
    return Image.fromarray(a[..., 0] if a.shape[2] == 1 else a)


def ints(x):
    a = np.asarray(x)
    return torch.from_numpy(a.reshape(*a.shape[:2], -1).astype(np.int64))


def transform(im, map):
    return im.transform(im.size, Image.Transform.AFFINE, map, Image.Resampling.BILINEAR, fillcolor=(128,) * len(im.getbands()) if len(im.getbands()) > 1 else 128)


OPS = {
    "autoContrast": (lambda im: ImageOps.autocontrast(im), [()]),
    "equalize": (lambda im: ImageOps.equalize(im), [()]),
    "invert": (lambda im: ImageOps.invert(im), [()]),
    "posterize": (lambda im, bits: ImageOps.posterize(im, bits), [(4,), (1,)]),
    "solarize": (lambda im, threshold: ImageOps.solarize(im, threshold), [(256,), (100,)]),
    "brightness": (lambda im, factor: ImageEnhance.Brightness(im).enhance(factor), [(0.5,), (1.7,)]),
    "color": (lambda im, factor: ImageEnhance.Color(im).enhance(factor), [(0.5,), (1.7,)]),
    "contrast": (lambda im, factor: ImageEnhance.Contrast(im).enhance(factor), [(0.5,), (1.7,)]),
    "sharpness": (lambda im, factor: ImageEnhance.Sharpness(im).enhance(factor), [(0.5,), (1.7,)]),
    "rotate": (lambda im, degrees: im.rotate(degrees, Image.Resampling.BILINEAR, fillcolor=128 if im.mode == "L" else (128,) * 3), [(20,), (-33,)]),
    "affine": (lambda im, *map: transform(im, map), [(1, 0.2, 0, 0, 1, 0), (1, 0, 0, -0.25, 1, 0), (1, 0, 3.5, 0, 1, -2.25)]),
    "enlarge": (lambda im, *box: im.resize(im.size, Image.Resampling.BILINEAR, [box[1], box[0], box[3], box[2]]), [(0, 0, 11, 9), (2, 1, 7, 9), (5, 4, 8, 6)]),
}

if __name__ == "__main__":
    with Goldens("augment.json") as g:
        for h, w, c in ((11, 9, 3), (12, 14, 1)):
            a = picture(h, w, c)
            for op, (f, settings) in OPS.items():
                for args in settings:
                    g.add(f"{op} {list(args)} of {c} channels", {"x": ints(a)}, {"op": op, "args": args}, {"y": ints(f(image(a), *args))})
        for size in ((12, 8), (14, 10), (28, 16), (9, 4)):
            x = torch.from_numpy(np.round(rng.standard_normal((size[0], size[0])) * 64) / 64)
            floats = Image.fromarray(x.numpy().astype(np.float32))
            y = np.asarray(floats.resize((size[1], size[1]), Image.Resampling.LANCZOS), dtype=np.float64)
            g.add(f"lanczos {size[0]} to {size[1]}", {"x": x}, {"size": size[1]}, {"y": torch.from_numpy(y)})
    path = os.path.join(HERE, "augment.json")
    with open(path) as f:
        text = f.read()
    with open(path, "w") as f:
        f.write(text.replace("make.py", f"make_augment.py, Pillow {PIL.__version__}", 1))
