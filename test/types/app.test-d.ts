// Checked by tsc alone (tsconfig.check.json): each line under a @ts-expect-error must be an error.
import * as v from 'valibot'
import { z } from 'zod'
import {
  Mersal,
  type CommandType,
  type EventType,
  type Sender,
  type Store,
  command,
  event,
} from '../../src/index.ts'
import { type MemoryTransaction, memoryStore, memoryTransport } from '../../src/memory.ts'
import { capture } from '../../src/testing/index.ts'

// How TypeScript compares two types for identity.
type Equal<Left, Right> =
  // oxlint-disable-next-line typescript/no-unnecessary-type-parameters -- as above
  (<T>() => T extends Left ? 1 : 2) extends <T>() => T extends Right ? 1 : 2 ? true : false
// oxlint-disable-next-line typescript/no-unnecessary-type-parameters -- the type is all there is to check
function assertType<_ extends true>(): void {}

// Bodies: given, or what the schema produces.
const Register = command<{ name: string }>('students.register')
const Registered = event(
  'students.registered',
  z.object({ studentId: z.string(), at: z.coerce.date(), note: z.string().default('') }),
)
const Renamed = event('students.renamed', v.object({ name: v.string() }))
const Anything = command('anything')
assertType<Equal<typeof Register, CommandType<{ name: string }>>>()
assertType<Equal<typeof Registered, EventType<{ studentId: string; at: Date; note: string }>>>()
assertType<Equal<typeof Renamed, EventType<{ name: string }>>>()
assertType<Equal<typeof Anything, CommandType<unknown>>>()
// @ts-expect-error a schema of another body than the one that is given
command<{ name: string }>('x', z.object({ name: z.number() }))
// @ts-expect-error no schema
event('x', { parse: () => 1 })

// The handle of the transaction comes from the store.
const app = new Mersal({ name: 'registrar', store: memoryStore(), transport: memoryTransport() })
const bare = new Mersal({ name: 'bare', transport: memoryTransport() })
assertType<Equal<typeof app, Mersal<MemoryTransaction>>>()
assertType<Equal<typeof bare, Mersal>>()
declare const tx: MemoryTransaction
declare const foreign: { query(text: string): Promise<void> }

export async function use(sender: Sender): Promise<void> {
  await sender.send(Register, { name: 'Ada' })
  await sender.publish(
    Renamed,
    { name: 'Ada' },
    { partitionKey: 'a', delayMs: 5, headers: { tenant: 'x' } },
  )
  const id: string = await app.publish(Renamed, { name: 'Ada' })
  void id
  // @ts-expect-error a command is not published
  await sender.publish(Register, { name: 'Ada' })
  // @ts-expect-error an event is not sent
  await sender.send(Renamed, { name: 'Ada' })
  // @ts-expect-error an event is not sent locally
  await sender.sendLocal(Renamed, { name: 'Ada' })
  // @ts-expect-error a wrong body
  await sender.send(Register, { name: 5 })
  // @ts-expect-error a body with a mistyped field
  await app.publish(Renamed, { nmae: 'Ada' })
  // @ts-expect-error no body
  await app.direct.send(Register)
  // @ts-expect-error headers are text
  await sender.send(Register, { name: 'Ada' }, { headers: { n: 1 } })
  // @ts-expect-error an unknown option
  await sender.send(Register, { name: 'Ada' }, { partitonKey: 'a' })

  await app.within(tx).send(Register, { name: 'Ada' })

  // @ts-expect-error a foreign kind of handle
  app.within(foreign)
  // @ts-expect-error nothing is no handle
  app.within(undefined)
  // @ts-expect-error an app without a store has no transactions
  bare.within(tx)

  const result = await app.transaction(async (inner, { publish }) => {
    assertType<Equal<typeof inner, MemoryTransaction>>()
    return publish(Renamed, { name: 'Ada' })
  })
  assertType<Equal<typeof result, string>>()
}

// Handlers.
app.handle(Register, async (body, context) => {
  assertType<Equal<typeof body, { name: string }>>()
  assertType<Equal<typeof context.tx, MemoryTransaction>>()
  await context.publish(Renamed, { name: body.name })
  // @ts-expect-error a wrong body
  await context.publish(Renamed, { name: 1 })
})
app.handle(Registered, ({ at, note }) => {
  assertType<Equal<typeof at, Date>>()
  assertType<Equal<typeof note, string>>()
})
bare.handle(Renamed, (_body, { tx }) => {
  assertType<Equal<typeof tx, undefined>>()
})
// @ts-expect-error a handler for another body
app.handle(Register, (body: { title: string }) => body.title)

// Subscriptions take events only.
void app.subscribe(Registered)
// @ts-expect-error a command has no subscribers
void app.subscribe(Register)

// Options.
// @ts-expect-error no transport
void (() => new Mersal({ name: 'x' }))
// @ts-expect-error an unknown option
void (() => new Mersal({ name: 'x', transport: memoryTransport(), recieve: {} }))
declare const postgresStore: Store<typeof foreign>
const transport = memoryTransport()
// @ts-expect-error a unit of work of another kind of transaction than the store's
void (() => new Mersal<MemoryTransaction>({ name: 'x', transport, store: postgresStore }))

// What a test captures is typed like what it runs.
void capture(app).handle(Register, { name: 'Ada' })
// @ts-expect-error a wrong body
void capture(app).handle(Register, { name: 5 })

// A part of an open transaction is shown by its sender.
void app.transaction((_tx, sender) => app.transaction(async () => 1, { join: sender }))
void app.transaction(async () => 1, { join: false })
// @ts-expect-error true says nothing about which one
void app.transaction(async () => 1, { join: true })
// @ts-expect-error a handle is no sender
void app.transaction((tx) => app.transaction(async () => 1, { join: tx }))

// What a request resolves to is what its handler may reply.
const Quote = command<{ sku: string }, { cents: number }>('prices.quote')
app.handle(Quote, async (_body, { reply }) => {
  await reply({ cents: 1 })
  // @ts-expect-error a wrong reply
  await reply({ cents: 'one' })
})
void app.request(Quote, { sku: 'tea' }).then(({ cents }) => cents.toFixed(2))
// @ts-expect-error a wrong body
void app.request(Quote, { sku: 5 })
// @ts-expect-error an event has no reply
void app.request(event('happened'), {})

// Only a transaction takes messages back.
void app.transaction((_tx, { cancel }) => cancel('id'))
// @ts-expect-error what went to the broker is gone
void app.direct.cancel('id')
