import { testFamilies } from './families.ts';

testFamilies('contractions');
