/** The platform that methods stand on, and the way to them. */
/** The schema library of `config`, so that a method and the platform use one copy of it. */
export { z } from 'zod';
export { Bench, type BenchCheck, figureAt, meets, parseBench } from './bench.ts';
export { type CatalogueItem, catalogue, loadMethod, loadMethodOf } from './catalogue.ts';
export { type Contract, type ContractName, type ContractTypes, contracts } from './contract.ts';
export { type Codec, type CodecFiles, type CodecTarget, ModelSays, type PlanOptions, type StagePlan } from './contracts/codec.ts';
export { extraBytes, type Objective, type ObjectiveTarget } from './contracts/objective.ts';
export type { Run } from './contracts/run.ts';
export { inputBytes, type Schedule, type ScheduleTarget, type Step } from './contracts/schedule.ts';
export { type AnyMethod, defineMethod, type Method, type MethodOf, type Paper, type Saving, savings } from './method.ts';
