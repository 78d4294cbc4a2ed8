/** A verb of the command line: its flags, its work, and how its result reads. */
import { buildCommand, type Command, type CommandContext, type TypedCommandParameters } from '@stricli/core';
import { listenForInterrupt } from './interrupt.ts';
import { jsonLine, type Out } from './output.ts';
import { Progress, progressMode } from './progress.ts';

/** What a verb's work is given besides its arguments. */
export interface Io {
  /** Prints a line for people while the work goes on; nothing under --json. */
  print(line: string): void;
  /** Reports on long work, on stderr. */
  progress: Progress['update'];
  /** Aborted by Ctrl-C: finish the step, save, and throw `signal.reason`. */
  signal: AbortSignal;
}

/** Flags by name. */
type Flags = Readonly<Record<string, unknown>>;
export type NoFlags = NonNullable<unknown>;

export interface Verb<F extends Flags, Args extends readonly unknown[], Result extends object> {
  /** One line for the list of verbs. */
  brief: string;
  /** More, for --help. */
  help?: string;
  /** How the arguments read in the usage, where their names alone do not say it. */
  usage?: string;
  /** Stricli's parameters; --json and --progress are added to every verb. */
  parameters: NoInfer<TypedCommandParameters<F, Args, CommandContext>>;
  /** Does the work. Heavy modules are imported here, so that other verbs start fast. */
  run(io: Io, flags: F, ...args: Args): Result | Promise<Result>;
  /** Whether a verb that was interrupted leaves what the same command goes on from. */
  resumes?: boolean;
  /** The result for people; under --json the result itself is printed, as the last line. */
  text(result: Result): string;
  /** False makes the exit code 1 though nothing threw, such as a comparison that failed. */
  succeeded?(result: Result): boolean;
}

type CommonFlags = { json: boolean; progress: boolean };

const commonFlags = {
  json: { kind: 'boolean', brief: 'Print one JSON object as the last line instead of text', default: false, withNegated: false },
  progress: { kind: 'boolean', brief: 'Show progress (on stderr) also with --json', default: false, withNegated: false },
} as const;

/** The verb as a command. Errors pass through: the application prints them as one line and sets the exit code. */
export function defineVerb<F extends Flags = NoFlags, Args extends readonly unknown[] = [], Result extends object = object>(
  verb: Verb<F, Args, Result>,
): Command<CommandContext> {
  const { flags = {}, ...rest } = verb.parameters as { flags?: object };
  return buildCommand<F & CommonFlags, Args>({
    docs: {
      brief: verb.brief,
      ...(verb.help !== undefined && { fullDescription: verb.help }),
      ...(verb.usage !== undefined && { customUsage: [verb.usage] }),
    },
    parameters: { ...rest, flags: { ...flags, ...commonFlags } } as never,
    async func(this: CommandContext, given: F & CommonFlags, ...args: Args) {
      const { stdout, stderr }: { stdout: Out; stderr: Out } = this.process;
      const progress = new Progress(stderr, progressMode(stderr, given));
      using interrupt = listenForInterrupt(stderr, verb.resumes);
      const io: Io = {
        print(line) {
          progress.end();
          if (!given.json) stdout.write(`${line}\n`);
        },
        progress: progress.update,
        signal: interrupt.signal,
      };
      try {
        const result = await verb.run(io, given, ...args);
        progress.end();
        stdout.write(given.json ? jsonLine(result) : `${verb.text(result)}\n`);
        if (verb.succeeded?.(result) === false) process.exitCode = 1;
      } finally {
        progress.end();
      }
    },
  });
}
