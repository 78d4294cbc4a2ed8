"""Decoding at batch 1 with Hugging Face's Llama and its static cache: CUDA graph by hand, torch.compile, plain generate; attention over many keys alone."""
import argparse, json, statistics, sys, time, traceback


def progress(text):
    print(f"> {text}", file=sys.stderr, flush=True)


progress("importing torch and transformers")

import torch
import transformers
from transformers import LlamaConfig, LlamaForCausalLM, StaticCache

parser = argparse.ArgumentParser()
parser.add_argument("--prompt", type=int, default=128)
parser.add_argument("--keys", type=int, default=4096, help="of the long prompt")
parser.add_argument("--tokens", type=int, default=256)
parser.add_argument("--reps", type=int, default=3)
parser.add_argument("--layers", type=int, default=24)
parser.add_argument("--skip-compile", action="store_true", help="torch.compile takes longer than all else: most of a minute")
args = parser.parse_args()

# 1.36e9 parameters; src/bench/cuda/decode.ts has the same
config = LlamaConfig(vocab_size=32000, hidden_size=2048, intermediate_size=5632, num_hidden_layers=args.layers, num_attention_heads=32,
                     num_key_value_heads=32, max_position_embeddings=8192, tie_word_embeddings=False, attn_implementation="sdpa")
torch.manual_seed(0)
torch.set_default_dtype(torch.bfloat16)
with torch.device("cuda"):
    model = LlamaForCausalLM(config).eval()
prompt = torch.randint(0, 32000, (1, args.prompt), device="cuda")
figures = {}
result = {"version": f"{torch.__version__}, transformers {transformers.__version__}", "parameters": sum(p.numel() for p in model.parameters()),
          "figures": figures}


@torch.no_grad()
def static_decoder(step_of, prompt=prompt):
    """-> a function that decodes args.tokens tokens after the prompt and returns the seconds that they took."""
    length = prompt.shape[1]
    cache = StaticCache(config=config, max_cache_len=length + args.tokens + 8, max_batch_size=1, device="cuda", dtype=torch.bfloat16)
    position = torch.arange(length, device="cuda")
    ids = torch.zeros((1, 1), dtype=torch.long, device="cuda")
    at = torch.zeros(1, dtype=torch.long, device="cuda")

    def forward(ids, at):
        out = model(input_ids=ids, position_ids=at[None], cache_position=at, past_key_values=cache, use_cache=True)
        return out.logits[:, -1].argmax(-1, keepdim=True)

    def prefill():
        cache.reset()
        ids.copy_(forward(prompt, position))
        at.fill_(length)

    prefill()
    step = step_of(forward, ids, at)

    def decode():
        prefill()
        torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(args.tokens):
            step()
        torch.cuda.synchronize()
        return time.perf_counter() - start

    return decode


def by_graph(forward, ids, at):
    def advance():
        ids.copy_(forward(ids, at))
        at.add_(1)

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            advance()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        advance()
    return graph.replay


def by_compile(forward, ids, at):
    compiled = torch.compile(forward, mode="reduce-overhead", fullgraph=True)

    def advance():
        ids.copy_(compiled(ids, at))
        at.add_(1)

    for _ in range(4):
        advance()
    return advance


def rate(decode):
    decode()
    return round(args.tokens / statistics.median(decode() for _ in range(args.reps)), 1)


@torch.no_grad()
def plain():
    n = min(args.tokens, 32)
    run = lambda: model.generate(prompt, max_new_tokens=n, min_new_tokens=n, do_sample=False, pad_token_id=0)
    run()
    torch.cuda.synchronize()
    start = time.perf_counter()
    run()
    torch.cuda.synchronize()
    return round(n / (time.perf_counter() - start), 1)


def long_graph():
    return rate(static_decoder(by_graph, torch.randint(0, 32000, (1, args.keys), device="cuda")))


@torch.no_grad()
def attention():
    """us of one layer's attention over args.keys keys that no cache holds, in a graph of 16 calls."""
    shapes = [(1, 32, n, 64) for n in (1, args.keys, args.keys)]
    sets = [[torch.randn(shape, device="cuda") for shape in shapes] for _ in range(16)]
    attend = torch.nn.functional.scaled_dot_product_attention
    for _ in range(3):
        attend(*sets[0])
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for qkv in sets:
            attend(*qkv)
    times = []
    for _ in range(40):
        start, end = torch.cuda.Event(True), torch.cuda.Event(True)
        start.record()
        graph.replay()
        end.record()
        torch.cuda.synchronize()
        times.append(start.elapsed_time(end) * 1e3 / len(sets))
    return round(statistics.median(times[20:]), 2)


ways = {"CUDA graph": lambda: rate(static_decoder(by_graph)), "long CUDA graph": long_graph, "sdpa us": attention, "generate": plain, "torch.compile": lambda: rate(static_decoder(by_compile))}
for name, way in ways.items():
    if name == "torch.compile" and args.skip_compile:
        continue
    try:
        progress(f"{name} ...")
        figures[name] = way()
        progress(f"{name}: {figures[name]}")
        print(json.dumps(result), flush=True)  # what is known counts if there is no time for the rest
    except Exception:  # noqa: BLE001 - one way that fails must not hide the others
        traceback.print_exc(limit=4)
print(json.dumps(result), flush=True)
