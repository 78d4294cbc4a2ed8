/** What every schedule must hold to: see `scheduleChecks` for the list. */
import assert from 'node:assert/strict';
import { type Tensor, tensor, withDevice } from '../../tensor/index.ts';
import { inputBytes, type Schedule, type ScheduleTarget, type Step } from '../contracts/schedule.ts';
import { type Check, declarationChecks, inFreshProcess, leastBudget, type Subject, suite } from './check.ts';

/** The run that is scheduled: small enough to reshape on the reference device. */
export const scheduleTarget: ScheduleTarget = { steps: 60, batch: 2, channels: 3, size: 32, patch: 4, itemBytes: 4 };

/** All steps of a run, in order. */
const allSteps = (schedule: Schedule, target: ScheduleTarget): Step[] =>
  Array.from({ length: target.steps }, (_, index) => schedule.step(index, target));

function fitted({ method, target }: Subject<'schedule'>, budget: number): { schedule: Schedule; config: unknown } {
  const config = method.fit(budget, target);
  return { schedule: method.create(config), config };
}

/** The least budget, one that cannot bind, and one between. */
function budgets(subject: Subject<'schedule'>): number[] {
  const { steps, batch, channels, size, itemBytes } = subject.target;
  const [least, whole] = [leastBudget(subject), 64 * steps * batch * channels * size * size * itemBytes];
  return [least, Math.floor(least * 1.5), whole];
}

const ramp = ({ batch, channels, size }: ScheduleTarget): Tensor => {
  const data = Float32Array.from({ length: batch * channels * size * size }, (_, at) => Math.sin(at * 0.37) + (at % size) / size);
  return tensor(data, { shape: [batch, channels, size, size] });
};

export const scheduleChecks: readonly Check<'schedule'>[] = [
  ...declarationChecks<'schedule'>(),
  {
    name: 'every step is a batch that the model can take',
    run(subject) {
      const { target } = subject;
      for (const budget of budgets(subject))
        for (const [index, { shape, augmentation, cost }] of allSteps(fitted(subject, budget).schedule, target).entries()) {
          const [batch, channels, height, width] = shape;
          assert.ok(Number.isSafeInteger(batch) && batch > 0 && channels === target.channels, `step ${index}: shape ${shape}`);
          for (const side of [height, width])
            assert.ok(side > 0 && side <= target.size && side % target.patch === 0, `step ${index}: side ${side}`);
          assert.ok(augmentation >= 0 && augmentation <= 1, `step ${index}: augmentation ${augmentation}`);
          assert.ok(cost > 0 && Number.isFinite(cost), `step ${index}: cost ${cost}`);
        }
    },
  },
  {
    name: 'the learning-rate schedule is run through once, from its beginning',
    run(subject) {
      for (const budget of budgets(subject)) {
        const positions = allSteps(fitted(subject, budget).schedule, subject.target).map(({ position }) => position);
        assert.equal(positions[0], 0);
        for (const [index, position] of positions.entries())
          assert.ok(position < 1 && position > (positions[index - 1] ?? -1), `step ${index}: position ${position}`);
      }
    },
  },
  {
    name: 'the model reads no more input bytes than declared',
    run(subject) {
      for (const budget of budgets(subject)) {
        const { schedule, config } = fitted(subject, budget);
        const [declared, measured] = [subject.method.bytes(config, subject.target), inputBytes(schedule, subject.target)];
        assert.ok(measured <= declared, `[${subject.method.id}] declares ${declared} B, the steps read ${measured} B`);
      }
    },
  },
  {
    name: 'a step is the same whenever and in whatever order it is asked for',
    run(subject) {
      const [budget] = budgets(subject);
      const forward = allSteps(fitted(subject, budget!).schedule, subject.target);
      const other = fitted(subject, budget!).schedule;
      for (let index = subject.target.steps - 1; index >= 0; index--) assert.deepEqual(other.step(index, subject.target), forward[index]);
    },
  },
  {
    name: 'a fresh process makes the same steps',
    async run(subject) {
      const { schedule, config } = fitted(subject, budgets(subject)[1]!);
      assert.deepEqual(
        await inFreshProcess('steps', subject.url, { config, target: subject.target }),
        JSON.parse(JSON.stringify(allSteps(schedule, subject.target))),
      );
    },
  },
  {
    name: 'batches are reshaped as the steps say, full-size ones left as they are',
    run(subject) {
      const { target } = subject;
      withDevice('reference', () => {
        const full: Pick<Step, 'shape'> = { shape: [target.batch, target.channels, target.size, target.size] };
        const images = ramp(target);
        for (const budget of budgets(subject)) {
          const { schedule } = fitted(subject, budget);
          assert.deepEqual(schedule.reshape(images, full).data(), images.data());
          const shapes = new Map(allSteps(schedule, target).map((step) => [step.shape.join(), step]));
          for (const step of shapes.values()) {
            const [once, twice] = [schedule.reshape(images, step), schedule.reshape(images, step)];
            assert.deepEqual(once.shape, step.shape);
            assert.ok(once.data().every(Number.isFinite));
            assert.deepEqual(twice.data(), once.data());
          }
        }
      });
    },
  },
];

/** Registers every check of a schedule as a test. */
export const scheduleConformance = (subject: Omit<Subject<'schedule'>, 'target'>): void =>
  suite(scheduleChecks, { ...subject, target: scheduleTarget });
