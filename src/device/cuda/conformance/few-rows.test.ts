import { testFamilies } from './families.ts';

testFamilies('fewRows');
