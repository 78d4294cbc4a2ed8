/** The contracts: what kinds of methods there are, and the types that a method of each kind works with. */
import type { Codec, CodecTarget } from './contracts/codec.ts';
import type { Objective, ObjectiveTarget } from './contracts/objective.ts';
import type { Schedule, ScheduleTarget } from './contracts/schedule.ts';

/** Every contract, in one line: what its methods decide. */
export const contracts = {
  codec: 'data as stored tokens, and training from them',
  curate: 'which data to keep',
  schedule: 'which batch comes next, and at what size',
  parallel: 'who computes what',
  activation: 'which tensors of the forward pass are kept for the backward pass',
  objective: 'what is minimised',
  measure: 'how much a model knows',
  delta: 'small trainable changes to a large model',
  weights: 'how weights are stored',
  cache: 'which keys and values attention keeps',
  draft: 'what speculative decoding proposes',
  layer: 'sequence mixers with a state',
  index: 'how representations are stored and searched',
  rank: 'in what order candidates are shown',
  memory: 'what a model remembers',
  media: 'a video, a scene or a map stored as a model',
} as const;

export type ContractName = keyof typeof contracts;

/**
 * The types of a contract: `target`, the facts that a configuration is solved for (sizes of the data or of the model, known before
 * either is read), and `made`, what a method's `create` returns. A contract takes methods once it has a row here.
 */
export interface ContractTypes {
  codec: { target: CodecTarget; made: Codec };
  schedule: { target: ScheduleTarget; made: Schedule };
  objective: { target: ObjectiveTarget; made: Objective };
}

export type Contract = keyof ContractTypes & ContractName;
