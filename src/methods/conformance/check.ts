/** What every method must hold to, whatever its contract; and how a suite of checks becomes tests. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { BudgetError } from '../../bytes/index.ts';
import { parseBench } from '../bench.ts';
import { describe as describeMethod } from '../catalogue.ts';
import type { Contract, ContractTypes } from '../contract.ts';
import type { MethodOf } from '../method.ts';

/** A method under test: itself, and the module that a fresh process loads it from. */
export interface Subject<C extends Contract> {
  readonly method: MethodOf<C>;
  /** Compiled module whose default export is the method; bench.json lies beside it. */
  readonly url: URL;
  readonly target: ContractTypes[C]['target'];
}

/** One promise that a method makes. Rejects where it is broken. */
export interface Check<C extends Contract> {
  readonly name: string;
  readonly run: (subject: Subject<C>) => void | Promise<void>;
}

/** Registers the checks as tests of `node:test`. */
export function suite<C extends Contract>(checks: readonly Check<C>[], subject: Subject<C>): void {
  describe(`${subject.method.contract}/${subject.method.id}`, () => {
    for (const check of checks) test(check.name, () => check.run(subject));
  });
}

/** The least budget of a method, as its own refusal of 0 bytes names it. */
export function leastBudget<C extends Contract>({ method, target }: Subject<C>): number {
  try {
    method.fit(0, target);
  } catch (error) {
    assert.ok(error instanceof BudgetError, `fit refuses with a BudgetError, not with: ${error}`);
    return error.needed;
  }
  return assert.fail(`[${method.id}] fit(0) made a configuration out of no bytes`);
}

/** What `job` of a conformance child returns for this method in a process of its own. */
export async function inFreshProcess(job: string, url: URL, input: unknown): Promise<unknown> {
  const child = fileURLToPath(new URL('./child.js', import.meta.url));
  const { stdout } = await promisify(execFile)(process.execPath, [child, job, url.href, JSON.stringify(input)], { maxBuffer: 1 << 26 });
  return JSON.parse(stdout.trimEnd().split('\n').at(-1) ?? '');
}

/** The checks that need nothing but the method's declaration. */
export function declarationChecks<C extends Contract>(): Check<C>[] {
  return [
    {
      name: 'metadata is complete',
      run({ method }) {
        const { id, contract, title, paper, saves } = describeMethod(method as never);
        for (const [name, text] of Object.entries({ id, contract, title, paper: paper.title, authors: paper.authors }))
          assert.ok(text.trim().length > 1, `[${id}] ${name} is empty`);
        assert.ok(paper.year >= 1950 && paper.year <= 2100, `[${id}] the paper's year is ${paper.year}`);
        assert.match(paper.arxiv ?? '0000.00000', /^\d{4}\.\d{4,5}$/, `[${id}] the arXiv number is written 2404.14469`);
        assert.equal(new Set(saves).size, saves.length, `[${id}] a saving is listed twice`);
      },
    },
    {
      name: 'the configuration has defaults, which parse to themselves',
      run({ method }) {
        const defaults = method.config.parse({});
        assert.deepEqual(method.config.parse(JSON.parse(JSON.stringify(defaults))), defaults);
      },
    },
    {
      name: 'bench.json is there and valid',
      run({ url }) {
        const path = fileURLToPath(new URL('./bench.json', url));
        parseBench(readFileSync(path, 'utf8'), path);
      },
    },
    {
      name: 'an impossible budget is refused with both numbers, the least budget works',
      run(subject) {
        const { method, target } = subject;
        const least = leastBudget(subject);
        assert.ok(Number.isSafeInteger(least) && least > 0, `the least budget is ${least}`);
        assert.throws(
          () => method.fit(least - 1, target),
          (error) =>
            error instanceof BudgetError &&
            error.budget === least - 1 &&
            error.needed === least &&
            error.message.startsWith(`[${method.id}] `),
        );
        assert.ok(method.bytes(method.fit(least, target), target) <= least);
      },
    },
    {
      name: 'a fitted configuration is within its budget, valid and reproducible',
      run(subject) {
        const { method, target } = subject;
        const least = leastBudget(subject);
        for (const budget of [1, 1.5, 4, 64].map((times) => Math.floor(least * times))) {
          const config = method.fit(budget, target);
          const bytes = method.bytes(config, target);
          assert.ok(bytes <= budget, `[${method.id}] declares ${bytes} B for a budget of ${budget} B`);
          assert.deepEqual(method.config.parse(JSON.parse(JSON.stringify(config))), config);
          assert.deepEqual(method.fit(budget, target), config);
        }
      },
    },
  ];
}
