/** Layers, initialisers, losses, optimisers and schedules. */
export * from './head-loss.ts';
export * from './init.ts';
export * from './losses.ts';
export * from './models/gpt2.ts';
export * from './models/llama.ts';
export * from './models/llama-config.ts';
export * from './models/vit.ts';
export * from './module.ts';
export * from './optim.ts';
export * from './precision.ts';
export * from './schedule.ts';
export * from './transformer.ts';
