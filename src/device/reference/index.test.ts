import { testReference } from '../conformance/suite.ts';

testReference();
