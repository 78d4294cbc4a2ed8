/** Runs the conformance suites over every registered method, and shows that the suites notice broken promises. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import '../../device/index.ts';
import { add, mul, sum, type Tensor } from '../../tensor/index.ts';
import type { Contract } from '../contract.ts';
import type { CodecTarget } from '../contracts/codec.ts';
import type { MethodOf } from '../method.ts';
import { registry } from '../registry.generated.ts';
import type { Check, Subject } from './check.ts';
import { codecChecks, codecConformance } from './codec.ts';
import { trainImages } from './images.ts';
import { objectiveChecks, objectiveConformance, objectiveTarget } from './objective.ts';
import { scheduleChecks, scheduleConformance, scheduleTarget } from './schedule.ts';
import toyCodec from './toy-codec.ts';
import toyObjective from './toy-objective.ts';
import toySchedule from './toy-schedule.ts';

/** The suite of each contract. */
const suites: { [C in Contract]: (subject: Omit<Subject<C>, 'target'>) => void } = {
  codec: codecConformance,
  schedule: scheduleConformance,
  objective: objectiveConformance,
};

for (const { contract, id, load } of registry) {
  const url = new URL(`../${contract}/${id}/index.js`, import.meta.url);
  (suites[contract] as (subject: { method: unknown; url: URL }) => void)({ method: await load(), url });
}

const codecUrl = new URL('./toy-codec.js', import.meta.url);
const scheduleUrl = new URL('./toy-schedule.js', import.meta.url);
codecConformance({ method: toyCodec, url: codecUrl });
scheduleConformance({ method: toySchedule, url: scheduleUrl });
const objectiveUrl = new URL('./toy-objective.js', import.meta.url);
objectiveConformance({ method: toyObjective, url: objectiveUrl });

/** Asserts that the named check refuses a method that breaks its promise. */
async function notices<C extends Contract>(checks: readonly Check<C>[], name: string, subject: Subject<C>): Promise<void> {
  const check = checks.find((one) => one.name === name);
  assert.ok(check, `no check is called '${name}'`);
  await assert.rejects(async () => check.run(subject), assert.AssertionError);
}

const lyingCodec = (lie: Partial<MethodOf<'codec'>>): Subject<'codec'> => ({
  method: { ...toyCodec, ...lie },
  url: codecUrl,
  target: trainImages,
});
const lyingSchedule = (lie: Partial<MethodOf<'schedule'>>): Subject<'schedule'> => ({
  method: { ...toySchedule, ...lie },
  url: scheduleUrl,
  target: scheduleTarget,
});

test('a store that outgrows its declaration is noticed', async () => {
  const bytes = (config: { side: number; bits: number }, target: CodecTarget) => toyCodec.bytes(config, target) - 1;
  await notices(codecChecks, 'the store takes no more bytes than declared', lyingCodec({ bytes }));
});

test('chance in a store is noticed', async () => {
  let times = 0;
  const create = (config: { side: number; bits: number }) => toyCodec.create({ ...config, side: config.side - (times++ % 2) });
  await notices(codecChecks, 'the same seed makes the same store and the same predictions', lyingCodec({ create }));
});

test('a codec that believes damaged bytes is noticed', async () => {
  const create = (config: { side: number; bits: number }) => ({ ...toyCodec.create(config), train: async () => {} });
  await notices(codecChecks, 'a truncated and a bit-flipped store are refused', lyingCodec({ create }));
});

test('a budget overrun and a vague refusal are noticed', async () => {
  const generous = () => ({ side: 16, bits: 8 });
  await notices(codecChecks, 'an impossible budget is refused with both numbers, the least budget works', lyingCodec({ fit: generous }));
  const vague = () => {
    throw new Error('too small');
  };
  await notices(codecChecks, 'a fitted configuration is within its budget, valid and reproducible', lyingCodec({ fit: vague }));
});

test('a schedule that forgets where it is, or reads more than it declares, is noticed', async () => {
  let calls = 0;
  const forgetful = (config: { half: number }) => {
    const inner = toySchedule.create(config);
    return { ...inner, step: (_: number, target: typeof scheduleTarget) => inner.step(calls++ % target.steps, target) };
  };
  await notices(scheduleChecks, 'a step is the same whenever and in whatever order it is asked for', lyingSchedule({ create: forgetful }));
  await notices(
    scheduleChecks,
    'the model reads no more input bytes than declared',
    lyingSchedule({ create: () => toySchedule.create({ half: 0 }) }),
  );
});

test('a learning-rate schedule that starts again is noticed', async () => {
  const restarting = (config: { half: number }) => {
    const inner = toySchedule.create(config);
    return {
      ...inner,
      step: (index: number, target: typeof scheduleTarget) => ({ ...inner.step(index, target), position: (index % 30) / 30 }),
    };
  };
  await notices(
    scheduleChecks,
    'the learning-rate schedule is run through once, from its beginning',
    lyingSchedule({ create: restarting }),
  );
});

test('a reshape to the wrong shape is noticed', async () => {
  const create = (config: { half: number }) => ({ ...toySchedule.create(config), reshape: (images: never) => images });
  await notices(scheduleChecks, 'batches are reshaped as the steps say, full-size ones left as they are', lyingSchedule({ create }));
});

const lyingObjective = (lie: Partial<MethodOf<'objective'>>): Subject<'objective'> => ({
  method: { ...toyObjective, ...lie },
  url: objectiveUrl,
  target: objectiveTarget,
});

test('an objective that takes more memory than it declares is noticed', async () => {
  await notices(objectiveChecks, 'loss and gradients take no more than the declared bytes', lyingObjective({ bytes: () => 1000 }));
});

test('an objective that is not what it means, or counts ignored rows, is noticed', async () => {
  const doubled = (config: { copies: number }) => {
    const inner = toyObjective.create(config);
    return { ...inner, loss: (h: Tensor, c: Tensor, y: Tensor) => mul(inner.loss(h, c, y), 2) };
  };
  await notices(objectiveChecks, 'loss and gradients are those of its meaning, on every device', lyingObjective({ create: doubled }));
  const careless = (config: { copies: number }) => {
    const inner = toyObjective.create(config);
    return { ...inner, loss: (h: Tensor, c: Tensor, y: Tensor) => add(inner.loss(h, c, y), mul(sum(h), 1e-3)) };
  };
  await notices(objectiveChecks, 'rows that do not count change nothing', lyingObjective({ create: careless }));
});
