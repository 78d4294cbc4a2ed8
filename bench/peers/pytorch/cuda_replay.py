"""GPU time of a captured graph, as src/bench/cuda/replay.ts has it: the median over replays, in milliseconds. On the current stream, where the
graph was captured or joined."""
import json, math, statistics, sys, time

import torch


def replay_ms(graph, rest=100, warm=50, ms=0, least=15):
    """Alone: on a GPU that rested, and then is at work; it lowers its clocks within 50 ms."""
    torch.cuda.synchronize()
    time.sleep(rest / 1e3)
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    graph.replay()
    start.record()
    graph.replay()
    end.record()
    torch.cuda.synchronize()
    once = start.elapsed_time(end)
    for _ in range(min(1000, math.ceil(warm / once))):
        graph.replay()
    events = [torch.cuda.Event(enable_timing=True) for _ in range(max(least, math.ceil(ms / once)) + 1)]
    events[0].record()
    for event in events[1:]:
        graph.replay()
        event.record()
    torch.cuda.synchronize()
    return statistics.median(a.elapsed_time(b) for a, b in zip(events, events[1:]))


def turn_ms(graph):
    """By turns with somebody else: what ran before is the same work."""
    return replay_ms(graph, rest=0, warm=15, ms=20, least=5)


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
