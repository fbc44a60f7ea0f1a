export { Mersal } from './app/mersal.ts'
export { type ContractOptions, command, event } from './app/send/messages.ts'
export type { Upcaster } from './app/contracts/versions.ts'
export type { OnceRequest, OnceResult } from './app/once/request.ts'
export { saga, type SagaOptions, type SagaType } from './app/sagas/definition.ts'
export type {
  SagaContext,
  SagaDuration,
  SagaKeyOf,
  SagaMissing,
  SagaReactionOptions,
  SagaReactions,
} from './app/sagas/types.ts'
export type { CheckBodies } from './app/send/outgoing.ts'
export type { HandlingContext, HandlingStep } from './app/receive/handling-steps.ts'
export { reject, retryLater } from './app/receive/steer.ts'
export {
  runUntilSignal,
  stopOnSignals,
  type SignalOptions,
  type SignalStop,
} from './app/signals.ts'
export type { AppHealth, HealthPart, HealthStatus } from './app/health/health.ts'
export type { Drained, DrainOptions } from './app/drain/drain.ts'
export type { AppState } from './app/lifecycle.ts'
export type {
  Address,
  EventOptions,
  HandleOptions,
  Handler,
  HandlerContext,
  IdempotencyConfig,
  LifecycleHook,
  MersalOptions,
  OutboxConfig,
  ReceiveOptions,
  LimitOptions,
  RetryOptions,
  Route,
  SendOptions,
  Sender,
  TransactionOptions,
  TransactionSender,
  UnitSender,
} from './app/types.ts'
export type { OutcomeOptions } from './app/requests/outcome.ts'
export type { RequestOptions } from './app/requests/requests.ts'

// For everyone who writes a store, a transport, a step or a serializer.
export { MersalError, isMersalError, type ErrorCode } from './core/errors/errors.ts'
export { destinationKey, headerNames } from './core/messages/message.ts'
export type {
  CommandType,
  Destination,
  Envelope,
  EventType,
  MessageType,
  OutgoingMessage,
} from './core/messages/message.ts'
export type {
  Cancellation,
  ClaimRequest,
  ClaimedMessage,
  OnDead,
  OutboxStorage,
  SaveOptions,
  SavedMessage,
  SettleResult,
  Settlement,
  Waker,
} from './core/outbox.ts'
export type { MessageState } from './core/operations.ts'
export type { FailedAttempt } from './core/errors/attempts.ts'
export type {
  DeadLetter,
  DeadLetterBox,
  DeadLetterFate,
  DeadLetterPass,
  DeadReason,
} from './core/dead-letter.ts'
export type {
  IncomingContext,
  IncomingStep,
  OutgoingContext,
  OutgoingStep,
  Step,
} from './core/pipeline.ts'
export type {
  OutboxAdmin,
  OutboxStats,
  Savepoint,
  Savepoints,
  SharedUnits,
  Store,
  UnitOfWork,
  UnitOptions,
} from './core/store.ts'
export type {
  DestinationOverview,
  Finding,
  KeptFilter,
  KeptMessages,
  KeyOverview,
  OutboxOverview,
  Pause,
  PauseBoard,
  PauseTarget,
  QueueOverview,
  RefusedMessage,
  SchemaControl,
  SchemaVersion,
  StoreOperations,
  TransportOperations,
} from './core/operations.ts'
export type {
  ManyTracker,
  MessageTracker,
  Recorder,
  TrackedEndings,
  TrackerKey,
  TrackerKeys,
} from './core/tracker.ts'
export type { OnceClaim, OnceClaimed, OnceKey, OnceStore } from './core/records/once.ts'
export type {
  SagaInstance,
  SagaKey,
  SagaListRequest,
  SagaRecord,
  SagaStore,
} from './core/records/sagas.ts'
export type { TransactionContext } from './core/transaction.ts'
export type {
  Consumption,
  Delivery,
  Disposition,
  OnTrouble,
  PublishOptions,
  PublishOutcome,
  QueueRemoval,
  Transport,
  TransportFeatures,
} from './core/transport.ts'
export type { BodyCodec, DecodedMessage, EncodedMessage } from './core/messages/codec.ts'
export type { ForeignType, TypeOf, WireFormat } from './core/messages/wire-format.ts'
export { jsonSerializer, type Serializer } from './core/messages/serializer.ts'
export {
  silentLogger,
  stderrLogger,
  type EventName,
  type Events,
  type Logger,
} from './core/telemetry.ts'
export type { OperationName, Operations } from './core/traced.ts'
export type { SchemaIssue, SchemaResult, StandardSchema } from './core/messages/schema.ts'
export type { RelayOptions } from './outbox/options.ts'
export type { RefusalOptions } from './outbox/type-retries.ts'
export {
  createRelays,
  type Relays,
  type RelaysOptions,
} from './outbox/many-stores/relays.ts'
export type { ServedRelay } from './outbox/many-stores/store-relay.ts'
export type {
  RelayStore,
  SharedOptions,
  StoreEntry,
  Stores,
} from './outbox/many-stores/relays-options.ts'
export type { Backoff } from './lib/async/backoff.ts'
export type { Clock, Random } from './lib/async/clock.ts'
