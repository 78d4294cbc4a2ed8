"""Writes llama-halves.json: python3 tests/golden/make_checkpoint.py   (torch, transformers). Logits and greedy tokens, in float64, of Llamas whose
weights are numbers of half precision made by `number`, so that the file need not hold them; and how far off transformers is in half precision."""
import json, os

import torch
import transformers
from transformers import LlamaConfig, LlamaForCausalLM

HERE = os.path.dirname(os.path.abspath(__file__))
torch.set_default_dtype(torch.float64)

BASE = dict(vocab_size=96, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
            max_position_embeddings=256, rms_norm_eps=1e-5, attn_implementation="eager")
LLAMA3 = {"rope_type": "llama3", "rope_theta": 500.0, "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 32}
CASES = {
    "bf16": {"tie_word_embeddings": True, "rope_parameters": LLAMA3},
    "f16": {"num_key_value_heads": 1, "head_dim": 32},
}
KEPT = {*BASE, "model_type", "hidden_act", "attention_bias", "mlp_bias", "rope_parameters", "rope_theta", "rope_scaling", "head_dim", "tie_word_embeddings"}
PROMPT, TOKENS = 45, 24


def number(tensor, i):
    """A whole number from -128 to 127: element i of the tensor-th tensor in the order of the names."""
    x = (i + tensor * 0x9E3779B9) & 0xFFFFFFFF
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        x = ((x ^ (x >> shift)) * factor) & 0xFFFFFFFF
    return ((x ^ (x >> 16)) & 255) - 128


def case(name, more):
    config = LlamaConfig(**{**BASE, **more})
    model = LlamaForCausalLM(config).double().eval()
    parameters = sorted(model.named_parameters())  # the tied head is not among them
    for t, (_, p) in enumerate(parameters):
        n = torch.tensor([number(t, i) for i in range(p.numel())], dtype=torch.float64).reshape(p.shape)
        p.data = 1 + torch.trunc(n / 8) / 64 if p.dim() == 1 else n / 256
    prompt = [number(99, i) % BASE["vocab_size"] for i in range(PROMPT)]
    with torch.no_grad():
        logits = model(torch.tensor([prompt]), use_cache=False).logits[0]
        ids, gaps = list(prompt), []
        for _ in range(TOKENS):
            best = torch.topk(model(torch.tensor([ids]), use_cache=False).logits[0, -1], 2)
            ids.append(int(best.indices[0]))
            gaps.append(float(best.values[0] - best.values[1]))
        half = model.to(getattr(torch, {"bf16": "bfloat16", "f16": "float16"}[name]))
        error = float((half(torch.tensor([prompt]), use_cache=False).logits[0] - logits).abs().max())
    rows = [0, 1, 20, 43, 44]
    written = {k: v for k, v in config.to_dict().items() if k in KEPT and k != "attn_implementation"}
    return {"dtype": name, "config": written, "tensors": {k: list(p.shape) for k, p in parameters}, "prompt": prompt, "rows": rows,
            "logits": [float(f"{x:.7g}") for x in logits[rows].flatten().tolist()], "error": float(f"{error:.3g}"), "tokens": ids[PROMPT:], "gaps": [float(f"{g:.4g}") for g in gaps]}


made = {"made": f"tests/golden/make_checkpoint.py, torch {torch.__version__}, transformers {transformers.__version__}",
        "cases": [case(n, m) for n, m in CASES.items()]}
with open(os.path.join(HERE, "llama-halves.json"), "w") as file:
    file.write(json.dumps(made) + "\n")
