import { testFamilies } from './families.ts';

testFamilies('attention');
