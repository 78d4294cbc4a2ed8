"""GPU time of a captured graph, as src/bench/cuda/replay.ts has it: the median over replays on a GPU that rested, and then is at work."""
import math, statistics, time

import torch

REST_MS, WARM_MS, REPLAYS = 100, 50, 15  # a GPU under load lowers its clocks within that time


def replay_ms(graph):
    """On the current stream, where the graph was captured or joined."""
    torch.cuda.synchronize()
    time.sleep(REST_MS / 1e3)
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    graph.replay()
    start.record()
    graph.replay()
    end.record()
    torch.cuda.synchronize()
    for _ in range(min(1000, math.ceil(WARM_MS / start.elapsed_time(end)))):
        graph.replay()
    events = [torch.cuda.Event(enable_timing=True) for _ in range(REPLAYS + 1)]
    events[0].record()
    for event in events[1:]:
        graph.replay()
        event.record()
    torch.cuda.synchronize()
    return statistics.median(a.elapsed_time(b) for a, b in zip(events, events[1:]))
