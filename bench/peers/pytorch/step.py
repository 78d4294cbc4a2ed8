"""The reference train step: a 4-layer decoder, d = 128, 16 x 128 tokens, 940,800 parameters, AdamW.

python3 step.py --threads 1 --reps 20 [--compile] [--golden ../../../tests/golden/reference-step.json]
"""
from common import IDS, TARGETS, block, block_spec, initial_parameters, integers, measure, torch

F = torch.nn.functional
LAYERS, D, HEADS, VOCAB, BATCH, TOKENS = 4, 128, 4, 512, 16, 128

spec = [("e", (VOCAB, D), "weight"), ("p", (TOKENS, D), "weight")]
for i in range(LAYERS):
    spec += block_spec(i, D)
spec += [("lfg", (D,), 1), ("lfb", (D,), 0), ("h", (D, VOCAB), "weight")]

values, count = initial_parameters(spec)
assert count == 940_800
ids = integers(IDS, (BATCH, TOKENS), VOCAB)
targets = integers(TARGETS, (BATCH, TOKENS), VOCAB)


def loss_of(p):
    x = F.embedding(ids, p["e"]) + p["p"]
    for i in range(LAYERS):
        x = block(p, i, x, HEADS, causal=True)
    x = F.layer_norm(x, (D,), p["lfg"], p["lfb"], 1e-5)
    return F.cross_entropy(F.linear(x, p["h"].T).view(-1, VOCAB), targets.view(-1))


if __name__ == "__main__":
    measure("pytorch-reference-step", values, lambda dtype: loss_of)
