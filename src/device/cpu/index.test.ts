import { testDevice } from '../conformance/suite.ts';
import { CpuDevice } from './index.ts';

testDevice(new CpuDevice());
