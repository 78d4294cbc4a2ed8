/** Run by the build once the methods are compiled: writes what each says about itself, so that `catalogue()` loads none. */
import { writeFileSync } from 'node:fs';
import { cataloguePath, describeAll } from './catalogue.ts';

writeFileSync(cataloguePath, `${JSON.stringify(await describeAll())}\n`);
