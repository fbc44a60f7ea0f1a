export type { ContractCase, HarnessTime } from './contract.ts'
export * from './crash-points.ts'
export { type ManualClock, manualClock } from './manual-clock.ts'
export {
  type OutboxHarness,
  type OutboxParts,
  type RetentionHarness,
  operationsContract,
  outboxContract,
  outboxRetentionContract,
  savepointContract,
} from './outbox-contract.ts'
export { type OnceHarness, type OnceParts, onceContract } from './once-contract.ts'
export { type SagaHarness, type SagaParts, sagaContract } from './saga-contract.ts'
export { type TrackerHarness, type TrackerParts, trackerContract } from './tracker-contract.ts'
export { type WakerHarness, wakerContract } from './waker-contract.ts'
export { type DocumentsHarness, documentsContract } from './documents-contract.ts'
export { type Capture, type CapturedMessage, capture } from './capture.ts'
export { drain } from './drain.ts'
export { type RehearsalOptions, type SagaRehearsal, rehearse } from './sagas/rehearse.ts'
export type { SagaMessage } from './sagas/sent.ts'
export { type TransportHarness, transportContract } from './transport-contract.ts'
export { defineProof, type Proof, type ProofNumbers, type ProofPlace } from './proof.ts'
