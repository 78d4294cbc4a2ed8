/** The configuration of a codec that trains from a store. */
import { z } from 'zod';
import type { CodecMethod } from './task.ts';

/** What the store calls for, with other epochs where they are asked for. @throws Error where the method knows no epochs. */
export function trainingConfig(method: CodecMethod, store: string, epochs?: number): unknown {
  const config: unknown = method.configOf?.(store) ?? method.config.parse({});
  if (epochs === undefined) return config;
  if (!(Number.isFinite(epochs) && epochs > 0)) throw new RangeError(`[train] epochs is ${JSON.stringify(epochs)}; give a number above 0`);
  const trains = z.looseObject({ train: z.looseObject({ epochs: z.number() }) }).safeParse(config);
  if (!trains.success) throw new Error(`[train] the method ${method.id} has no epochs to set; leave --epochs out`);
  return method.config.parse({ ...trains.data, train: { ...trains.data.train, epochs } });
}
