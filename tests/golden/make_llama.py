"""Writes llama-tiny.json: python3 tests/golden/make_llama.py   (torch, transformers). Logits of random Llamas: float64 where transformers does not force float32 (norms, angles)."""
import json, os

import torch
import transformers
from transformers import LlamaConfig, LlamaForCausalLM

HERE = os.path.dirname(os.path.abspath(__file__))
torch.set_default_dtype(torch.float64)
generator = torch.Generator().manual_seed(7)

BASE = dict(vocab_size=48, hidden_size=24, intermediate_size=40, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
            max_position_embeddings=64, rms_norm_eps=1e-5, attn_implementation="eager")
LLAMA3 = {"rope_type": "llama3", "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 16}
CASES = {
    "untied head, grouped queries": {},
    "tied head, wide heads, linear scaling": {"tie_word_embeddings": True, "head_dim": 8, "rope_scaling": {"rope_type": "linear", "factor": 2.0}},
    "all kv heads, llama3 scaling, base 500": {"num_key_value_heads": 4, "head_dim": 12, "rope_theta": 500.0, "rope_scaling": LLAMA3},
}


def case(name, more):
    config = LlamaConfig(**{**BASE, **more})
    model = LlamaForCausalLM(config).double().eval()
    # numbers of both signs that float32 holds exactly, large enough for sharp attention; gains around 1
    for key, p in model.named_parameters():
        draw = torch.randn(p.shape, generator=generator) * (0.1 if p.dim() == 1 else 0.3)
        p.data = torch.round((draw + (p.dim() == 1)) * 256) / 256
    ids = torch.randint(0, 48, (2, 40), generator=generator)
    with torch.no_grad():
        logits = model(ids, use_cache=False).logits
    flat = {k: {"shape": list(p.shape), "dtype": "float", "data": p.flatten().tolist()} for k, p in model.named_parameters()}
    written = {k: v for k, v in config.to_dict().items() if k in {*BASE, *more, "model_type", "hidden_act", "attention_bias", "mlp_bias",
                                                                "rope_parameters", "rope_theta", "rope_scaling", "head_dim", "tie_word_embeddings"}}
    written.pop("attn_implementation", None)
    rows = [0, 1, 17, 38, 39]
    picked = logits[:, rows]
    return {"name": name, "config": written, "tensors": flat, "ids": {"shape": [2, 40], "dtype": "int", "data": ids.flatten().tolist()}, "rows": rows,
            "logits": {"shape": list(picked.shape), "dtype": "float", "data": [float(f"{x:.10g}") for x in picked.flatten().tolist()]}}


made = {"made": f"tests/golden/make_llama.py, torch {torch.__version__}, transformers {transformers.__version__}",
        "cases": [case(n, m) for n, m in CASES.items()]}
with open(os.path.join(HERE, "llama-tiny.json"), "w") as file:
    file.write(json.dumps(made) + "\n")
