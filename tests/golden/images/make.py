"""Makes golden.json (an image, Pillow's bicubic resizes, exact area means) and cmyk.jpg: pip install pillow numpy; python make.py"""
import json
import os

import numpy as np
from PIL import Image, __version__

here = os.path.dirname(os.path.abspath(__file__))
y, x = np.mgrid[0:24, 0:30]
smooth = np.stack([128 + 100 * np.sin(x / 4), 128 + 90 * np.cos(y / 5 + x / 9), 4 * x + 5 * y], -1).round().astype(np.uint8)
image = Image.fromarray(smooth)


def bicubic(height, width):
    return np.asarray(image.resize((width, height), Image.BICUBIC))


def area(height, width):
    """Every pixel cut into height x width equal parts, then plain means."""
    h, w, c = smooth.shape
    parts = smooth.repeat(height, 0).repeat(width, 1).astype(np.float64)
    return np.floor(parts.reshape(height, h, width, w, c).mean((1, 3)) + 0.5).astype(np.uint8)


cases = []
for name, resize in (("area", area), ("bicubic", bicubic)):
    for height, width in ((12, 15), (8, 10), (7, 11), (33, 40)):
        out = resize(height, width)
        cases.append({"filter": name, "height": height, "width": width, "pixels": out.ravel().tolist()})
golden = {"pillow": __version__, "height": 24, "width": 30, "pixels": smooth.ravel().tolist(), "cases": cases}
with open(os.path.join(here, "golden.json"), "w") as f:
    json.dump(golden, f)
    f.write("\n")
Image.new("CMYK", (8, 8), (0, 200, 200, 30)).save(os.path.join(here, "cmyk.jpg"), quality=95)
