import { packageVersion } from './package.ts';
import { defineVerb } from './verb.ts';

/** `thimble version` */
export default defineVerb({
  brief: 'Print the version',
  parameters: {},
  run: () => ({ version: packageVersion }),
  text: ({ version }) => version,
});
