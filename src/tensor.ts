/** `thimble/tensor`: tensors with the devices registered. */
import './device/index.ts';

export * from './tensor/index.ts';
