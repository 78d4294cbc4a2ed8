/** What every objective must hold to: see `objectiveChecks` for the list. */
import assert from 'node:assert/strict';
import { type Device, defaultDevice, device, tensor } from '../../tensor/index.ts';
import { extraBytes, type Objective, type ObjectiveTarget } from '../contracts/objective.ts';
import { type Check, declarationChecks, inFreshProcess, leastBudget, type Subject, suite } from './check.ts';
import { lossOf, operands } from './objective-operands.ts';

/** Small enough for the reference device, and no size a multiple of another. */
export const objectiveTarget: ObjectiveTarget = { rows: 53, features: 24, classes: 301, dtype: 'f32' };

/** The devices that are here: the default one, and the CPU where that is another. */
const devices = (): Device[] => [...new Set([defaultDevice(), device('cpu')])];

const fitted = ({ method, target }: Subject<'objective'>, times: number): { objective: Objective; config: unknown } => {
  const config = method.fit(Math.ceil(leastBudget({ method, target } as Subject<'objective'>) * times), target);
  return { objective: method.create(config), config };
};

function near(actual: ArrayLike<number>, expected: ArrayLike<number>, tolerance: number, what: string): void {
  assert.equal(actual.length, expected.length, what);
  const scale = Math.max(...Array.from(expected, Math.abs), 1e-30);
  for (let i = 0; i < actual.length; i++)
    assert.ok(Math.abs(actual[i]! - expected[i]!) <= tolerance * scale, `${what}: element ${i} is ${actual[i]}, expected ${expected[i]}`);
}

export const objectiveChecks: readonly Check<'objective'>[] = [
  ...declarationChecks<'objective'>(),
  {
    name: 'loss and gradients take no more than the declared bytes',
    run(subject) {
      const { method, target } = subject;
      for (const on of devices())
        for (const dtype of on.name === 'cuda' ? (['bf16'] as const) : (['f32', 'bf16'] as const)) // what a GPU trains in
          for (const times of [1, 3, 1000]) {
            const large = { ...target, rows: 400, features: 64, classes: 3000, dtype };
            const { objective, config } = fitted({ ...subject, target: large }, times);
            const [declared, planned] = [method.bytes(config, large), extraBytes(objective, large, on)];
            assert.ok(planned <= declared, `[${method.id}] declares ${declared} B, ${on.name} plans ${planned} B for ${dtype}`);
          }
    },
  },
  {
    name: 'loss and gradients are those of its meaning, on every device',
    run(subject) {
      const reference = operands(subject.target, device('reference'));
      for (const times of [1, 1000]) {
        const { objective } = fitted(subject, times);
        const expected = lossOf({ loss: objective.meaning }, reference);
        for (const on of devices()) {
          const actual = lossOf(objective, operands(subject.target, on));
          near([actual.loss], [expected.loss], 1e-5, `loss on ${on.name}`);
          near(actual.hidden, expected.hidden, 1e-4, `gradient of the hidden states on ${on.name}`);
          near(actual.classifier, expected.classifier, 1e-4, `gradient of the classifier on ${on.name}`);
        }
      }
    },
  },
  {
    name: 'rows that do not count change nothing',
    run(subject) {
      const { rows, features } = subject.target;
      const { objective } = fitted(subject, 1000);
      const all = operands(subject.target);
      const before = lossOf(objective, all);
      const targets = all.targets.data();
      const changed = Array.from(all.hidden.data(), (x, i) => (targets[Math.floor(i / features)] === -100 ? 3 - x : x));
      const after = lossOf(objective, { ...all, hidden: tensor(changed, { shape: [rows, features], dtype: subject.target.dtype }) });
      assert.equal(after.loss, before.loss);
      assert.deepEqual(after.classifier, before.classifier);
      for (let i = 0; i < rows * features; i++)
        assert.ok(targets[Math.floor(i / features)] !== -100 || after.hidden[i] === 0, `an ignored row has gradient ${after.hidden[i]}`);
      const none = lossOf(objective, { ...all, targets: tensor(Array(rows).fill(-100), { shape: [rows], dtype: 'i32' }) });
      assert.deepEqual(
        [none.loss, ...Array.from(none.hidden), ...Array.from(none.classifier)].filter((x) => x !== 0),
        [],
        'no row counts: loss and gradients are 0',
      );
    },
  },
  {
    name: 'the same bits every time, and in a fresh process',
    async run(subject) {
      const { objective, config } = fitted(subject, 2);
      const [once, twice] = [lossOf(objective, operands(subject.target)), lossOf(objective, operands(subject.target))];
      assert.deepEqual(twice, once);
      assert.equal(await inFreshProcess('loss', subject.url, { config, target: subject.target }), once.loss);
    },
  },
];

/** Registers every check of an objective as a test. */
export const objectiveConformance = (subject: Omit<Subject<'objective'>, 'target'>): void =>
  suite(objectiveChecks, { ...subject, target: objectiveTarget });
