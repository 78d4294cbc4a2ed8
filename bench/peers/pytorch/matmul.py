"""fp32 matmul 1024^3: torch, or numpy over OpenBLAS. One engine a process, so that their thread pools do not meet.

python3 matmul.py --engine torch|numpy --threads 1 --reps 20
"""
import statistics, time

import common

common.parser.add_argument("--engine", choices=["torch", "numpy"], default="torch")
args = common.parse_args()
import json  # noqa: E402

N = 1024
a, b = (common.normal(stream, 0, (N, N), -7).float() for stream in (common.PARAMETERS, common.INPUTS))
if args.engine == "torch":
    version, out = common.torch.__version__, common.torch.empty(N, N)
    run = lambda: common.torch.mm(a, b, out=out)
else:
    np = common.np
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    version, x, y, out = f"numpy {np.__version__} {blas['name']} {blas['version']}", a.numpy(), b.numpy(), np.empty((N, N), np.float32)
    run = lambda: np.matmul(x, y, out=out)

for _ in range(5):
    run()
ms = []
for _ in range(args.reps):
    start = time.perf_counter()
    run()
    ms.append((time.perf_counter() - start) * 1e3)
median = statistics.median(ms)
print(json.dumps({"peer": f"{args.engine}-matmul-1024", "version": version, "threads": args.threads, "ms": round(median, 3),
                  "msAll": [round(x, 3) for x in ms], "losses": [], "gflops": round(2 * N**3 / median / 1e6, 1)}))
