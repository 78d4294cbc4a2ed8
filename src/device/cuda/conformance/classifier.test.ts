import { testFamilies } from './families.ts';

testFamilies('classifier');
