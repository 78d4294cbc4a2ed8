/** Flags that verbs share. */
import { numberParser } from '@stricli/core';

/** A whole number from `least`. @throws RangeError that names the flag */
export const whole =
  (name: string, least: number) =>
  (text: string): number => {
    const value = numberParser(text);
    if (Number.isSafeInteger(value) && value >= least) return value;
    throw new RangeError(`[thimble] --${name} ${text}: give a whole number from ${least}`);
  };

/** A number above 0. @throws RangeError that names the flag */
export const positive =
  (name: string) =>
  (text: string): number => {
    const value = numberParser(text);
    if (Number.isFinite(value) && value > 0) return value;
    throw new RangeError(`[thimble] --${name} ${text}: give a number above 0`);
  };

/** A share above 0, up to 1. @throws RangeError that names the flag */
const share =
  (name: string) =>
  (text: string): number => {
    const value = numberParser(text);
    if (value > 0 && value <= 1) return value;
    throw new RangeError(`[thimble] --${name} ${text}: give a number above 0, up to 1`);
  };

export const effortFlag = {
  kind: 'parsed',
  parse: share('effort'),
  default: '1',
  brief: 'Share of the training of the tokenizer, up to 1',
  placeholder: 'share',
} as const;
export const methodFlag = {
  kind: 'parsed',
  parse: String,
  default: 'seit-plus-plus',
  brief: 'A codec (thimble methods lists them)',
  placeholder: 'id',
} as const;
export const seedFlag = {
  kind: 'parsed',
  parse: whole('seed', 0),
  default: '0',
  brief: 'Seed of all random choices',
  placeholder: 'n',
} as const;
export const freshFlag = {
  kind: 'boolean',
  default: false,
  withNegated: false,
  brief: 'Start anew, whatever unfinished work there is',
} as const;
export const onBadFlag = { kind: 'enum', values: ['fail', 'skip'], default: 'fail', brief: 'What an unreadable image does' } as const;
export const budgetFlag = {
  kind: 'parsed',
  parse: String,
  brief: 'What the file may take, e.g. 2MB; everything in it counts',
  placeholder: 'size',
} as const;
export const sizeFlag = {
  kind: 'parsed',
  parse: whole('size', 1),
  optional: true,
  brief: 'Side in pixels that images are brought to; default from the files',
  placeholder: 'n',
} as const;
export const epochsFlag = {
  kind: 'parsed',
  parse: positive('epochs'),
  optional: true,
  brief: "Passes over the images; default the method's",
  placeholder: 'n',
} as const;

/** `-o file` */
export const outFlag = (placeholder: string) => ({ kind: 'parsed', parse: String, brief: 'The file to write', placeholder }) as const;
