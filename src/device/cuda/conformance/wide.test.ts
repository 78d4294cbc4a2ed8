import { testFamilies } from './families.ts';

testFamilies('wide');
