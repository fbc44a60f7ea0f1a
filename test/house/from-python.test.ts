import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { root } from './sources.ts'

/**
 * The public names of Mersal for Python: what the `__all__` of its packages listed on 2026-08-18,
 * and the names that its pages use besides.
 */
const names = `
BuiltinHandlerActivator HandlerActivator HandlerFactory ConfigurationCallback StandardConfigurator
Logger LoggingConfig run_apps ConcurrencyExceptionError MersalExceptionError
MissingDependencyExceptionError MessageHandler MessageT IDEMPOTENCY_CHECK_KEY IdempotencyConfig
IdempotencyPlugin MessageTracker DefaultLifespanHandler LifespanHandler AutosubscribeConfig NullLogger
BatchMessage LogicalMessage MessageCompletedEvent MessageHeaders TransportMessage SubscribeRequest
UnsubscribeRequest OutboxConfig OutboxForwarder OutboxMessage OutboxMessageBatch OutboxStorage
InMemoryOutboxStorage FileSystemMessageTracker FileSystemSagaStorage FileSystemSubscriptionStorage
InMemoryMessageTracker InMemorySagaStorage InMemorySubscriptionStorage InMemorySubscriptionStore
NotImplementedSubscriptionStorage ActivateHandlersStep DefaultIncomingPipeline
DefaultOutgoingPipeline DeserializeIncomingMessageStep DestinationAddresses
DispatchIncomingMessageStep FlowCorrelationStep IncomingPipeline IncomingStepContext
IterativePipelineInvoker MessageContext MessageIdGenerator OutgoingPipeline OutgoingStepContext
Pipeline PipelineInjectionPosition PipelineInjector PipelineInvoker RecursivePipelineInvoker
SendOutgoingMessageStep SerializeOutgoingMessageStep SetDefaultHeadersStep Plugin
generic_registration_plugin DeadletterQueueErrorHandler DefaultFailFastChecker
DefaultFailFastCheckerExceptionsContainer DefaultRetryStrategy ErrorHandler ErrorTracker
FailFastChecker InMemoryErrorTracker RetryStep RetryStrategy RetryStrategySettings Router
DefaultRouter DefaultRouterRegistrationConfig CorrelationProperty SagaBase SagaConfig SagaData
SagaStorage MessageBodySerializer MessageHeadersSerializer MessageSerializer Serializer
DataclassSerializer IdentitySerializer InternalHandlersActivator SubscriptionStorage
SubscribeRequestHandler UnsubscribeRequestHandler AnyIOPeriodicTask AnyIOPeriodicTaskFactory
PeriodicAsyncTask PeriodicAsyncTaskFactory DefaultTopicNameConvention TopicNameConvention
AmbientContext DefaultTransactionContext DefaultTransactionContextWithOwningApp OutgoingMessage
TransactionContext TransactionScope Transport TransportBridge FileSystemTransport
FileSystemTransportConfig FileSystemTransportPlugin FileSystemTransportPluginConfig InMemoryNetwork
InMemoryTransport InMemoryTransportConfig AsyncAnyCallable AsyncTransactionContextCallable Empty
EmptyType Factory LifespanHook UnitOfWorkCloseAction UnitOfWorkCommitAction UnitOfWorkConfig
UnitOfWorkFactory UnitOfWorkRollbackAction UnitOfWorkT AsyncCallable AsyncRetrier Singleton
DefaultWorkerBackoffStrategy Worker WorkerBackoffStrategy WorkerFactory AnyioWorker
AnyioWorkerFactory Mersal max_parallelism stop_grace_period send_only on_startup_hooks
on_shutdown_hooks fail_fast_exceptions pdb_on_exception send_local session_extractor
SQLAlchemyOutboxStorage SQLAlchemyOutboxStorageConfig SQLAlchemyUnitOfWork commit_with_transaction
should_stop_invocation restart_on_crash message_id_generator logging_config
`
  .trim()
  .split(/\s+/)

describe('the page for people from Python', () => {
  test('shows every public name of the original', () => {
    const page = readFileSync(join(root, 'docs/from-python.md'), 'utf8')
    const cells = [...page.matchAll(/^\|(?<python>[^|]*)\|/gm)].map((row) => row.groups!['python']!)
    const shown = new Set(cells.flatMap((cell) => cell.match(/\w+/g) ?? []))
    expect(names.length).toBeGreaterThan(130)
    expect(names.filter((name) => !shown.has(name))).toEqual([])
  })
})
