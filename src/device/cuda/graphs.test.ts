/** Replayed graphs launch what launching call by call does, whatever addresses the arguments come at. The driver is a model of one stream. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import koffi from 'koffi';
import type { Driver } from './driver.ts';
import { Graphs } from './graphs.ts';
import type { Address, Step } from './launch.ts';

/** A launch that was captured or ran: its name and the addresses that it sees. */
type Node = { name: string; addresses: number[] };

class Stream {
  readonly ran: string[] = [];
  graphLaunches = 0;
  patches = 0;
  /** Captured graphs that were not given up. */
  readonly graphs = new Set<number>();
  /** What instantiation says instead of succeeding. */
  refusal: Error | undefined;
  #captured: Node[] | undefined;
  readonly #graphs: Node[][] = [[]]; // no handle is 0
  readonly #latest = new BigUint64Array(16);

  put(name: string, addresses: number[]): void {
    if (this.#captured) this.#captured.push({ name, addresses });
    else this.ran.push(`${name}(${addresses.join()})`);
  }
  patch(graph: number, node: number, addresses: number[]): void {
    this.patches++;
    this.#graphs[graph]![node]!.addresses = addresses;
  }
  readonly driver = {
    cuStreamBeginCapture_v2: () => void (this.#captured = []),
    cuStreamEndCapture: (_: number, out: BigUint64Array) => {
      this.graphs.add(this.#graphs.push(this.#captured!) - 1);
      out[0] = BigInt(this.#graphs.length - 1);
      this.#captured = undefined;
    },
    cuStreamGetCaptureInfo_v2: (...args: BigUint64Array[]) => {
      this.#latest[0] = BigInt(this.#captured!.length - 1);
      args[4]![0] = koffi.address(this.#latest);
    },
    get: (_: string, graph: number) => {
      if (this.refusal) throw this.refusal;
      return graph;
    },
    cuGraphLaunch: (graph: number) => {
      this.graphLaunches++;
      for (const { name, addresses } of this.#graphs[graph]!) this.put(name, addresses);
    },
    cuGraphExecDestroy: () => {},
    cuGraphDestroy: (graph: number | bigint) => void this.graphs.delete(Number(graph)),
  } as unknown as Driver;
}

/** Steps over buffers: those named k can be patched, those named g hold their addresses. */
function stepsOn(stream: Stream, program: readonly { fixed: boolean; buffers: number[] }[]): Step[] {
  return program.map(({ fixed, buffers }, i) => {
    const operands = buffers.map((buffer) => ({ buffer, offset: 0, shape: [], strides: [], dtype: 'f32' as const }));
    const name = `${fixed ? 'g' : 'k'}${i}`;
    return {
      operands,
      submit: (at: Address) => stream.put(name, operands.map(at)),
      ...(fixed ? {} : { patch: (graph: number, node: number, at: Address) => stream.patch(graph, node, operands.map(at)) }),
    };
  });
}
const EXTERNALS = 4;
const at =
  (addresses: readonly number[]): Address =>
  (o) =>
    typeof o === 'object' && o ? (o.buffer < EXTERNALS ? addresses[o.buffer]! : 1000 + o.buffer) : 0;
const externalOf = (b: number): number => (b < EXTERNALS ? b : -1);

const graphsOn = (stream: Stream, launches: Parameters<typeof stepsOn>[1]): Graphs =>
  new Graphs(stream.driver, 0, stepsOn(stream, launches), EXTERNALS, externalOf);

test('a replayed program launches the same on the same addresses', () => {
  const program = fc.array(fc.record({ fixed: fc.boolean(), buffers: fc.array(fc.nat(6), { minLength: 1, maxLength: 3 }) }), {
    maxLength: 20,
  });
  const calls = fc.array(fc.tuple(fc.nat(1), fc.array(fc.nat(30), { minLength: EXTERNALS, maxLength: EXTERNALS })), { maxLength: 60 });
  fc.assert(
    fc.property(program, calls, (launches, runs) => {
      const [real, plain] = [new Stream(), new Stream()];
      const graphs = graphsOn(real, launches);
      const direct = stepsOn(plain, launches);
      for (const [arena, addresses] of runs) {
        graphs.run(arena, addresses, at(addresses));
        for (const s of direct) s.submit(at(addresses));
      }
      assert.deepEqual(real.ran, plain.ran);
    }),
  );
});

const chain = (n: number, fixed: (i: number) => boolean, buffer: (i: number) => number) =>
  Array.from({ length: n }, (_, i) => ({ fixed: fixed(i), buffers: [buffer(i), 9] }));
/** Calls whose batch lies elsewhere each time. */
function runOnBatches(graphs: Graphs, calls: number): void {
  for (let call = 0; call < calls; call++) {
    const addresses = [call, 50, 60, 70];
    graphs.run(0, addresses, at(addresses));
  }
}
/** A product on the batch between kernels on what stays. */
const aroundAProduct = () =>
  chain(
    13,
    (i) => i === 6,
    (i) => (i === 6 ? 0 : 8),
  );

test('a batch at new addresses is patched into the graph of the second call', () => {
  const stream = new Stream();
  // ten kernels, the first on the batch; two products, on weights that stay
  const graphs = graphsOn(
    stream,
    chain(
      12,
      (i) => i > 9,
      (i) => (i === 0 ? 0 : i > 9 ? 1 : 8),
    ),
  );
  runOnBatches(graphs, 10);
  assert.equal(stream.graphLaunches, 9);
  assert.equal(stream.patches, 8); // one kernel a call, from the third on
});

test('a product on a batch that is never at the same place twice runs between graphs', () => {
  const stream = new Stream();
  const graphs = graphsOn(stream, aroundAProduct());
  runOnBatches(graphs, 30);
  assert.equal(stream.graphLaunches, 2 * (30 - 10)); // nine addresses to see that it moves, one more call to see the rest again
  assert.equal(stream.ran.filter((r) => r.startsWith('g6')).length, 30);
});

test('graphs of a program of which one cannot be made leave nothing, and the next run makes them', () => {
  const stream = new Stream();
  const steps = stepsOn(stream, aroundAProduct());
  let failure: Error | undefined;
  const last = steps.at(-1)!;
  const failing: Step = {
    ...last,
    submit(where) {
      if (failure) throw failure;
      last.submit(where);
    },
  };
  const graphs = new Graphs(stream.driver, 0, [...steps.slice(0, -1), failing], EXTERNALS, externalOf);
  const run = (call: number): void => graphs.run(0, [call, 50, 60, 70], at([call, 50, 60, 70]));
  for (let call = 0; call < 10; call++) run(call); // the product's operand moves: there will be a graph before it and one behind
  failure = new Error('the launch');
  assert.throws(() => run(10), failure);
  assert.equal(stream.graphs.size, 0);
  failure = undefined;
  stream.refusal = new Error('the graph');
  assert.throws(() => run(11), stream.refusal);
  assert.equal(stream.graphs.size, 0);
  stream.refusal = undefined;
  const before = stream.ran.length;
  run(12);
  assert.deepEqual([stream.graphs.size, stream.ran.length - before], [2, 13]);
});
