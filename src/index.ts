/**
 * Thimble trains, stores and recalls neural models and data in the bytes you have. What the command line does, as functions; the parts stand
 * in 'thimble/tensor', 'thimble/nn', 'thimble/data', 'thimble/bytes' and so on.
 *
 * @example
 * import { evaluate, store, train } from 'thimble';
 * await store('photos', { budget: '2MB', out: 'photos.tokens' });
 * await train('photos.tokens', { out: 'model.safetensors' });
 * const { accuracy } = await evaluate('model.safetensors', 'photos-test');
 */
import './device/index.ts';

export { Budget, BudgetError, parseBytes, printBytes } from './bytes/index.ts';
export * from './tasks/index.ts';
