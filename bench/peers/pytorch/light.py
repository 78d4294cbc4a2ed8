"""A matmul-light train step: 8 x (LayerNorm, GELU, softmax, scaled residual) on [64 x 256, 384], mean squared loss, AdamW.

python3 light.py --threads 1 --reps 10 [--compile] [--golden ../../../tests/golden/light-step.json]
"""
from common import INPUTS, TARGETS, initial_parameters, measure, normal, torch

F = torch.nn.functional
LAYERS, ROWS, D = 8, 64 * 256, 384

spec = []
for i in range(LAYERS):
    spec += [(f"g{i}", (D,), 1), (f"b{i}", (D,), 0), (f"s{i}", (D,), 8)]  # gain, bias, residual scale

values, _ = initial_parameters(spec)
inputs = normal(INPUTS, 0, (ROWS, D), -7)
targets = normal(TARGETS, 0, (ROWS, D), -7)


def loss_in(dtype):
    x0, goal = inputs.to(dtype), targets.to(dtype)

    def loss_of(p):
        x = x0
        for i in range(LAYERS):
            y = F.layer_norm(x, (D,), p[f"g{i}"], p[f"b{i}"], 1e-5)
            x = x + p[f"s{i}"] * F.softmax(F.gelu(y), dim=-1)
        return F.mse_loss(x, goal)

    return loss_of


if __name__ == "__main__":
    measure("pytorch-light-step", values, loss_in, lr=1e-2)
