#!/usr/bin/env node
/** The command line: `thimble <verb>`. A new verb is one file beside this one and one line in `verbs`. */
import { buildApplication, buildRouteMap, type Command, type CommandContext, run, type StricliProcess, text_en } from '@stricli/core';
import { Interrupted, interruptedExitCode } from './interrupt.ts';
import { errorLine, jsonLine } from './output.ts';
import { packageVersion } from './package.ts';

/** Every verb, in the order of --help. Only the one that is asked for is loaded. */
const verbs: Record<string, () => Promise<{ default: Command<CommandContext> }>> = {
  demo: () => import('./demo.ts'),
  store: () => import('./store.ts'),
  train: () => import('./train.ts'),
  eval: () => import('./eval.ts'),
  predict: () => import('./predict.ts'),
  plan: () => import('./plan.ts'),
  methods: () => import('./methods.ts'),
  bench: () => import('./bench.ts'),
  doctor: () => import('./doctor.ts'),
  version: () => import('./version.ts'),
};

const inputs = process.argv.slice(2);
const asked = Object.hasOwn(verbs, inputs[0] ?? '') ? [inputs[0]!] : Object.keys(verbs);
const routes = Object.fromEntries(await Promise.all(asked.map(async (name) => [name, (await verbs[name]!()).default] as const)));

/** What went wrong, for --json. */
const failures: string[] = [];
function failed(line: string): string {
  failures.push(line);
  return line;
}
// Stricli passes a second argument, which is not ours.
const oneLine = (error: unknown): string => failed(errorLine(error));

const application = buildApplication(
  buildRouteMap({
    routes,
    docs: { brief: 'Train, store and recall neural models and data in the bytes you have.' },
  }),
  {
    name: 'thimble',
    versionInfo: { currentVersion: packageVersion },
    scanner: { caseStyle: 'allow-kebab-for-camel', allowArgumentEscapeSequence: true },
    documentation: { disableAnsiColor: !process.stderr.isTTY },
    localization: {
      loadText: () => ({
        ...text_en,
        noCommandRegisteredForInput: (args) => failed(text_en.noCommandRegisteredForInput(args)),
        exceptionWhileParsingArguments: (error, color) => failed(text_en.exceptionWhileParsingArguments(error, color)),
        exceptionWhileRunningCommand: oneLine,
        exceptionWhileLoadingCommandFunction: oneLine,
      }),
    },
    determineExitCode: (error) => (error instanceof Interrupted ? interruptedExitCode : 1),
  },
);

// `thimble methods | head` closes the pipe early: that is no error of ours.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0);
  process.stderr.write(`[thimble] cannot write the output: ${error.message}\n`);
  process.exit(1);
});
// Progress that nobody can read any more, in a terminal that was closed, ends no work.
process.stderr.on('error', () => {});
await run(application, inputs, { process: process as StricliProcess });
// Stricli numbers wrong usage below zero, which shells would show as 251 and the like.
if (Number(process.exitCode) < 0) process.exitCode = 1;
if (failures.length > 0 && inputs.includes('--json')) process.stdout.write(jsonLine({ error: failures.join('; ') }));
