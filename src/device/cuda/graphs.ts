/**
 * A program's launches as CUDA graphs. Arguments come at other addresses from call to call: captured kernels are given the new ones, products
 * of the library hold theirs for good. So there is a graph for each set of addresses that products see; and one on a buffer that never
 * comes to rest is launched by itself, between the graphs of what is before and after it.
 */
import koffi from 'koffi';
import { CudaError, type Driver } from './driver.ts';
import { type Address, type Step, viewOf } from './launch.ts';

/** Graphs kept per program, and addresses that a buffer may have before it counts as one that moves. */
const MAX_VARIANTS = 8;
const MAX_KNOWN = 1000;
/** Fewer launches than this are not worth a graph. */
const WORTH_A_GRAPH = 4;

interface Graph {
  graph: number;
  executable: number;
}

/** What `work` puts on the stream, as one graph. Where that fails the stream is as it was, and nothing is left. */
export function capture(d: Driver, stream: number, work: () => void): Graph {
  const out = new BigUint64Array(16);
  d.cuStreamBeginCapture_v2(stream, 2);
  try {
    work();
  } catch (error) {
    try {
      d.cuStreamEndCapture(stream, out);
      if (out[0]) d.cuGraphDestroy(out[0]);
    } catch (later) {
      if (!(later instanceof CudaError)) throw later; // the first says why
    }
    throw error;
  }
  d.cuStreamEndCapture(stream, out);
  const graph = Number(out[0]);
  try {
    return { graph, executable: d.get('cuGraphInstantiateWithFlags', graph, 0) };
  } catch (error) {
    d.cuGraphDestroy(graph);
    throw error;
  }
}
/** Its nodes are named by those of the graph that was captured: both stay until the end. */
export function destroy(d: Driver, { graph, executable }: Graph): void {
  d.cuGraphExecDestroy(executable);
  d.cuGraphDestroy(graph);
}

interface Captured extends Graph {
  /** The nodes of launches that can be given other addresses. */
  nodes: Map<Step, number>;
}

interface Variant {
  parts: (Captured | Step)[];
  /** The addresses in the graphs now. */
  addresses: number[];
}

export class Graphs {
  readonly #driver: Driver;
  readonly #stream: number;
  readonly #steps: readonly Step[];
  /** By argument: the launches that can follow it, and whether others hold its address. */
  readonly #followers: Step[][];
  readonly #held: Set<number>;
  readonly #externalOf: (buffer: number) => number;
  readonly #seen: Set<number>[];
  readonly #moving = new Set<number>();
  readonly #variants = new Map<string, Variant>();
  readonly #known = new Set<string>();

  /** @param externalOf which argument a buffer of the program is; negative: none. */
  constructor(driver: Driver, stream: number, steps: readonly Step[], externals: number, externalOf: (buffer: number) => number) {
    this.#driver = driver;
    this.#stream = stream;
    this.#steps = steps;
    this.#externalOf = externalOf;
    this.#followers = Array.from({ length: externals }, () => []);
    this.#seen = Array.from({ length: externals }, () => new Set());
    this.#held = new Set();
    for (const step of steps)
      for (const e of this.#externals(step)) {
        if (step.patch) this.#followers[e]!.push(step);
        else this.#held.add(e);
      }
  }

  #externals(step: Step): Set<number> {
    const views = step.operands.map(viewOf).filter((v) => v !== null);
    return new Set(views.map((v) => this.#externalOf(v.buffer)).filter((e) => e >= 0));
  }

  /** Puts the whole program on the stream. @param arena where temporaries lie, @param addresses the arguments'. */
  run(arena: number, addresses: readonly number[], at: Address): void {
    const direct = (): void => {
      for (const step of this.#steps) step.submit(at);
    };
    if (this.#steps.length < WORTH_A_GRAPH) return direct();
    const resting = [...this.#held].filter((e) => !this.#moving.has(e));
    const key = [arena, ...resting.map((e) => addresses[e])].join();
    const variant = this.#variants.get(key);
    if (variant) return this.#replay(variant, addresses, at);
    if (!this.#known.has(key)) {
      // addresses that do not come again are not worth a graph
      if (this.#known.size >= MAX_KNOWN) this.#known.clear();
      this.#known.add(key);
      for (const e of resting) {
        const seen = this.#seen[e]!.add(addresses[e]!);
        if (seen.size > MAX_VARIANTS) {
          this.#moving.add(e);
          this.clear();
        }
      }
      return direct();
    }
    if (this.#variants.size >= MAX_VARIANTS) this.clear();
    const made = this.#capture(addresses, at);
    this.#variants.set(key, made);
    this.#replay(made, addresses, at);
  }

  #replay(variant: Variant, addresses: readonly number[], at: Address): void {
    const stale = new Set<Step>();
    addresses.forEach((address, e) => {
      if (variant.addresses[e] !== address) for (const step of this.#followers[e]!) stale.add(step);
      variant.addresses[e] = address;
    });
    for (const part of variant.parts) {
      if ('submit' in part) part.submit(at);
      else {
        if (stale.size) for (const [step, node] of part.nodes) if (stale.has(step)) step.patch!(part.executable, node, at);
        this.#driver.cuGraphLaunch(part.executable, this.#stream);
      }
    }
  }

  #capture(addresses: readonly number[], at: Address): Variant {
    const parts: (Captured | Step)[] = [];
    let run: Step[] = [];
    const close = (): void => {
      if (run.length < WORTH_A_GRAPH) parts.push(...run);
      else parts.push(this.#graph(run, at));
      run = [];
    };
    try {
      for (const step of this.#steps) {
        if (step.patch || ![...this.#externals(step)].some((e) => this.#moving.has(e))) run.push(step);
        else {
          close();
          parts.push(step);
        }
      }
      close();
    } catch (error) {
      this.#destroy(parts);
      throw error;
    }
    return { parts, addresses: [...addresses] };
  }

  #graph(steps: readonly Step[], at: Address): Captured {
    const nodes = new Map<Step, number>();
    const graph = capture(this.#driver, this.#stream, () => {
      for (const step of steps) {
        step.submit(at);
        if (step.patch && this.#externals(step).size) nodes.set(step, this.#latestNode());
      }
    });
    return { ...graph, nodes };
  }
  /** The node that the next launch on the captured stream will depend on: the latest. */
  #latestNode(): number {
    const out = new BigUint64Array(16);
    this.#driver.cuStreamGetCaptureInfo_v2(this.#stream, out, out.subarray(1), out.subarray(2), out.subarray(3), out.subarray(4));
    return Number(koffi.decode(out[3]!, 'uint64_t'));
  }

  #destroy(parts: readonly (Captured | Step)[]): void {
    for (const part of parts) if ('graph' in part) destroy(this.#driver, part);
  }
  /** Gives all graphs up; the next runs make new ones. */
  clear(): void {
    for (const { parts } of this.#variants.values()) this.#destroy(parts);
    this.#variants.clear();
    this.#known.clear();
  }
}
