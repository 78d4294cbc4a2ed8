import { type Family, families } from '../../conformance/cases/index.ts';
import { apart, testFamilies } from './families.ts';

const own: readonly Family[] = apart;
testFamilies(...(Object.keys(families) as Family[]).filter((name) => !own.includes(name)));
