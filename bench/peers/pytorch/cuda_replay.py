"""GPU time of a captured graph, as src/bench/cuda/replay.ts has it, in milliseconds. On the current stream, where the graph was captured or
joined."""
import json, math, statistics, sys, time

import torch

REST_MS, WARM_MS, REPLAYS = 100, 50, 15  # a GPU under load lowers its clocks within that time
TURN_WARM_MS, TURN_MS = 2, 8


def elapsed(*bodies):
    """Of each of them, one after the other without a wait between them."""
    events = [torch.cuda.Event(enable_timing=True) for _ in range(len(bodies) + 1)]
    events[0].record()
    for body, event in zip(bodies, events[1:]):
        body()
        event.record()
    torch.cuda.synchronize()
    return [a.elapsed_time(b) for a, b in zip(events, events[1:])]


def replay_ms(graph):
    """The median over replays on a GPU that rested, and then is at work."""
    torch.cuda.synchronize()
    time.sleep(REST_MS / 1e3)
    _, once = elapsed(graph.replay, graph.replay)
    warm = min(1000, math.ceil(WARM_MS / once))
    return statistics.median(elapsed(*[graph.replay] * (warm + REPLAYS))[warm:])


def turns(graph):
    """What measures a replay in each turn: shorter than what the clocks take to follow what runs in it."""
    _, once = elapsed(graph.replay, graph.replay)
    warm, count = math.ceil(TURN_WARM_MS / once), math.ceil(TURN_MS / once)

    def replay(n):
        for _ in range(n):
            graph.replay()

    return lambda: elapsed(lambda: replay(warm), lambda: replay(count))[1] / count


def serve(prepare):
    """Answers each name on a line of the input with `{"figure": number}` or `{"error": why}`, as src/bench/turns.ts asks. `prepare(name)` returns
    what measures it, which is kept until another name comes."""
    ready, measure = None, None
    for line in sys.stdin:
        name = line.rstrip("\n")
        try:
            if name != ready:
                ready = measure = None
                torch.cuda.empty_cache()
                ready, measure = name, prepare(name)
            answer = {"figure": measure()}
        except Exception as error:  # noqa: BLE001 - one figure that fails must not hide the others
            ready, answer = None, {"error": str(error).splitlines()[0][:200]}
        print(json.dumps(answer), flush=True)
