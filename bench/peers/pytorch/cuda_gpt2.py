"""Figures of GPT-2-small's train step on the GPU for src/bench/cuda/gpt2.ts: gpt2.py, eager and compiled, in one JSON line.

python3 cuda_gpt2.py
"""
import json, sys

sys.argv[1:] = ["--size", "small", "--device", "cuda", "--reps", "20", "--threads", "8", "--rows", "50304"]  # padded: its best case
import gpt2  # noqa: E402

figures = {}
for mode in ("eager", "compiled"):
    found = gpt2.speed(mode == "compiled")
    figures |= {f"{mode} speed": found["tokensPerSecond"], f"{mode} memory": found["peakBytes"] / 2**30, f"{mode} first step": found["firstStepSeconds"],
                f"{mode} loss": found["losses"][5]}
    gpt2.torch.cuda.empty_cache()
print(json.dumps({"version": gpt2.torch.__version__, "figures": figures}))
