/** Operations outside a compiled function: each runs at once, as a program of one node. For exploring; compile what repeats. */
import { assemble, type Loaded } from './assemble.ts';
import { type Device, type DeviceBuffer, defaultDevice } from './device.ts';
import { type OpAttrs, type OpName, ops } from './ops.ts';
import { Storage, Tensor } from './tensor.ts';
import { Trace } from './trace.ts';

const caches = new WeakMap<Device, Map<string, Loaded>>();
const LIMIT = 2000;

export function evaluate<K extends OpName>(op: K, attrs: OpAttrs[K], inputs: readonly Tensor[]): Tensor[] {
  if (op === 'reshape' || op === 'identity' || op === 'stopGradient' || op === 'barrier' || op === 'custom') {
    // the same numbers: the results share the storage of the operands
    const types = ops[op].infer(
      attrs as never,
      inputs.map((t) => t.type),
    );
    return types.map((type, i) => Tensor.concrete(type, inputs[i]!.storage.retain()));
  }
  const device: Device = inputs[0]?.storage.device ?? defaultDevice();
  let cache = caches.get(device);
  if (!cache) caches.set(device, (cache = new Map()));
  const key = `${op}|${JSON.stringify(attrs, (_, v: unknown) => (typeof v === 'number' && (!Number.isFinite(v) || Object.is(v, -0)) ? String(v) : v))}|${inputs.map((t) => t.type.key).join(';')}`;
  let made = cache.get(key);
  if (!made) {
    const trace = new Trace();
    const values = inputs.map((t) => trace.valueOf(trace.input(t.type)));
    const results = trace.graph.add(op, attrs, values).outputs;
    const assembled = assemble(
      device,
      results,
      inputs.map((t) => t.type),
      new Set(),
    );
    made = { ...assembled, device, executable: device.prepare(assembled.program) };
    if (cache.size >= LIMIT) cache.delete(cache.keys().next().value!);
    cache.set(key, made);
  }
  return launch(made, inputs).run();
}

/**
 * Memory for one call, the call, and its result tensors. Inputs in `donated` are given up to `to` after the run: results take their storage
 * over, the rest is freed.
 */
export function launch(made: Loaded, inputs: readonly Tensor[], donated?: ReadonlySet<number>, to = ''): Launch {
  const { device } = made;
  const copies = new Map<number, Storage>(); // of donated memory that another tensor still sees
  const fresh: Storage[] = [];
  const buffers: DeviceBuffer[] = [];
  const cancel = (): void => {
    for (const s of [...fresh, ...copies.values()]) s.release();
  };
  const copyOf = (i: number, { buffer }: Storage): Storage => {
    const copy = new Storage(device, device.alloc(buffer.bytes));
    copies.set(i, copy);
    device.write(copy.buffer, device.read(buffer, buffer.bytes));
    return copy;
  };
  try {
    for (const i of made.externalInputs) {
      const { storage } = inputs[i]!;
      if (storage.device !== device)
        throw new Error(`[tensor] operands on devices ${device.name} and ${storage.device.name} in one program; move one of them`);
      buffers.push(donated?.has(i) && storage.shared ? copyOf(i, storage).buffer : storage.buffer);
    }
    for (const r of made.externalResults) {
      const result = new Storage(device, device.alloc(made.resultTypes[r]!.bytes));
      fresh.push(result);
      buffers.push(result.buffer);
    }
  } catch (error) {
    cancel(); // where there is no memory for all of them, none stays taken
    throw error;
  }

  const given = new Map<number, Storage>();
  const start = (): void => {
    for (const i of donated ?? []) {
      const own = inputs[i]!.donate(to);
      given.set(i, copies.get(i) ?? own);
      if (copies.has(i)) own.release();
    }
  };
  const finish = (): Tensor[] => {
    const storages: Storage[] = [];
    let next = 0;
    for (const s of made.sources) {
      if (s.kind === 'new') storages.push(fresh[next++]!);
      else {
        const own = given.get(s.input);
        given.delete(s.input);
        storages.push(own ?? inputs[s.input]!.storage.retain());
      }
    }
    for (const s of given.values()) s.release();
    return storages.map((s, r) => Tensor.concrete(made.resultTypes[r]!, s));
  };
  const fail = (error: unknown): never => {
    for (const s of [...fresh, ...given.values()]) s.release(); // what was donated may be half written
    throw error;
  };
  return {
    buffers,
    cancel,
    run(how = (b) => made.executable.run(b)) {
      start();
      try {
        how(buffers);
      } catch (error) {
        fail(error);
      }
      return finish();
    },
    async runAsync() {
      start();
      const held = inputs.flatMap((t, i) => (donated?.has(i) ? [] : [t.storage.retain()])); // a dispose() meanwhile must not free them
      try {
        await made.executable.runAsync(buffers);
      } catch (error) {
        fail(error);
      } finally {
        for (const s of held) s.release();
      }
      return finish();
    },
  };
}

export interface Launch {
  buffers: readonly DeviceBuffer[];
  /** Frees the memory of the results, instead of a run. */
  cancel(): void;
  /** @param how runs the program on the buffers, if not the usual way. */
  run(how?: (buffers: readonly DeviceBuffer[]) => void): Tensor[];
  runAsync(): Promise<Tensor[]>;
}
