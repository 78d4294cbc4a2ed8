"""A ViT train step of the demo's size: 49 tokens of 16 numbers, d = 128, 4 layers, mean pool, 10 classes, batch 128.

python3 vit.py --threads 1 --reps 20 [--compile] [--golden ../../../tests/golden/vit-step.json]
"""
from common import INPUTS, TARGETS, block, block_spec, initial_parameters, integers, measure, normal, torch

F = torch.nn.functional
LAYERS, D, HEADS, CHANNELS, CLASSES, BATCH, TOKENS = 4, 128, 4, 16, 10, 128, 49

spec = [("w", (CHANNELS, D), "weight"), ("b", (D,), 0), ("p", (TOKENS, D), "weight")]
for i in range(LAYERS):
    spec += block_spec(i, D)
spec += [("lfg", (D,), 1), ("lfb", (D,), 0), ("h", (D, CLASSES), "weight"), ("hb", (CLASSES,), 0)]

values, _ = initial_parameters(spec)
inputs = normal(INPUTS, 0, (BATCH, TOKENS, CHANNELS), -7)
labels = integers(TARGETS, (BATCH,), CLASSES)


def loss_in(dtype):
    images = inputs.to(dtype)

    def loss_of(p):
        x = F.linear(images, p["w"].T, p["b"]) + p["p"]
        for i in range(LAYERS):
            x = block(p, i, x, HEADS, causal=False)
        x = F.layer_norm(x.mean(1), (D,), p["lfg"], p["lfb"], 1e-5)
        return F.cross_entropy(F.linear(x, p["h"].T, p["hb"]), labels)

    return loss_of


if __name__ == "__main__":
    measure("pytorch-vit-step", values, loss_in)
