import {
  type Attributes,
  type Context,
  ROOT_CONTEXT,
  type Span,
  SpanKind,
  SpanStatusCode,
  type Tracer,
  context,
  diag,
  propagation,
  trace,
} from '@opentelemetry/api'
import { errorText, stackOf } from '../core/errors/error-text.ts'
import type { Envelope } from '../core/messages/message.ts'
import { lastingName } from '../core/messages/reply-queues.ts'
import type { Operations } from '../core/traced.ts'
import { common, deliveryFailure, errorType, ofMessage } from './attributes.ts'
import { listen, together } from './listen.ts'

export interface SpanPorts {
  readonly tracer: Tracer
  readonly isWatched: (app: string) => boolean
  /** Whether the handling of a message begins a trace of its own, linked to that of its sender. */
  readonly linked: boolean
}

/** Makes the spans of messages, until it is disposed of. */
export function createSpans({ tracer, isWatched, linked }: SpanPorts): Disposable {
  return together([
    listen('send', isWatched, {
      start: (facts) => beginSend(tracer, facts),
      end: endSend,
    }),
    listen('publish', isWatched, {
      start: (facts) => beginPublish(tracer, facts),
      end(facts, span) {
        span.setAttribute('mersal.outcome', facts.outcome ?? 'none')
        finish(span, facts.error, errorType(facts.error, facts.outcome))
      },
    }),
    listen('receive', isWatched, {
      start: (facts) => beginReceive(tracer, facts, linked),
      end(facts, span) {
        span.setAttribute('mersal.outcome', facts.outcome ?? 'none')
        const failure = deliveryFailure(facts)
        finish(span, failure === undefined ? undefined : (facts.failure ?? facts.error), failure)
      },
    }),
    listen('handle', isWatched, {
      start: (facts) => beginHandle(tracer, facts),
      end: (facts, span) => finish(span, facts.error, errorType(facts.error)),
    }),
  ])
}

/** The span whose context travels with the message. */
function beginSend(tracer: Tracer, facts: Operations['send']): Span {
  const { app, system, type, to, transactional } = facts
  const active = context.active()
  const attributes = {
    ...common(system, 'create', to.name),
    'mersal.app': app,
    'mersal.message.type': type,
    'mersal.transactional': transactional,
  }
  const span = tracer.startSpan(
    `create ${lastingName(to.name)}`,
    { kind: SpanKind.PRODUCER, attributes },
    active,
  )
  const within = trace.setSpan(active, span)
  around(facts, within)
  try {
    propagation.inject(within, facts.headers)
  } catch (thrown) {
    // The span has begun, and is to end.
    diag.error('mersal/otel: the propagator failed', thrown)
  }
  return span
}

function endSend({ message, error }: Operations['send'], span: Span): void {
  if (message !== undefined) span.setAttributes(ofMessage(message))
  finish(span, error, errorType(error))
}

function beginPublish(tracer: Tracer, { app, system, message, by }: Operations['publish']): Span {
  const { to } = message
  const attributes = {
    ...common(system, 'send', to.name),
    ...ofMessage(message),
    'mersal.app': app,
    'mersal.published.by': by,
  }
  const created = contextOf(message)
  const options = { kind: SpanKind.CLIENT, attributes, links: linksTo(created) }
  return tracer.startSpan(`send ${lastingName(to.name)}`, options, created)
}

function beginReceive(tracer: Tracer, facts: Operations['receive'], linked: boolean): Span {
  const { app, system, queue, message, delivery } = facts
  const attributes: Attributes = {
    ...common(system, 'process', queue),
    ...ofMessage(message),
    'mersal.app': app,
    'mersal.delivery': delivery,
  }
  const created = contextOf(message)
  const parent = linked ? trace.deleteSpan(created) : created
  const links = linked ? linksTo(created) : []
  const span = tracer.startSpan(
    `process ${queue}`,
    { kind: SpanKind.CONSUMER, attributes, links },
    parent,
  )
  around(facts, trace.setSpan(parent, span))
  return span
}

function beginHandle(tracer: Tracer, facts: Operations['handle']): Span {
  const { app, message, attempt } = facts
  const attributes = {
    'mersal.app': app,
    'mersal.message.type': message.type,
    'mersal.attempt': attempt,
  }
  const active = context.active()
  const span = tracer.startSpan(`handle ${message.type}`, { attributes }, active)
  around(facts, trace.setSpan(active, span))
  return span
}

/** The context that a message brought along, and nothing of whoever hands it to us. */
function contextOf({ headers }: Envelope): Context {
  return propagation.extract(ROOT_CONTEXT, headers)
}

function linksTo(created: Context): { context: NonNullable<ReturnType<Span['spanContext']>> }[] {
  const found = trace.getSpanContext(created)
  return found === undefined ? [] : [{ context: found }]
}

/** The work runs in this context, inside of what other listeners have put around it. */
function around(facts: Operations['send' | 'receive' | 'handle'], within: Context): void {
  const inner = facts.around
  facts.around = (work) => context.with(within, () => (inner === undefined ? work() : inner(work)))
}

/** Ends a span. What it says of an error has no secrets in it. */
function finish(span: Span, error: unknown, type: string | undefined): void {
  if (error !== undefined && type !== undefined) {
    const message = errorText(error)
    const stack = stackOf(error)
    span.setAttribute('error.type', type)
    span.setStatus({ code: SpanStatusCode.ERROR, message })
    span.addEvent('exception', {
      'exception.type': type,
      'exception.message': message,
      ...(stack === undefined ? {} : { 'exception.stacktrace': stack }),
    })
  }
  span.end()
}
