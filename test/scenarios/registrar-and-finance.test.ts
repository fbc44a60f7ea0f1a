import { expect, test } from 'vitest'
import { Mersal, command, event } from '../../src/index.ts'
import { memoryDatabase, memoryNetwork, memoryStore } from '../../src/memory.ts'
import { drain } from '../../src/testing/index.ts'

const Register = command<{ name: string }>('students.register')
const Registered = event<{ name: string }>('students.registered')
const Billed = event<{ name: string }>('finance.billed')

/** Two apps with a database each, which only share a broker. */
async function setUp() {
  const network = memoryNetwork()
  const databases = { registrar: memoryDatabase(), finance: memoryDatabase() }
  const make = (name: keyof typeof databases, routes = {}) =>
    new Mersal({
      name,
      store: memoryStore({ database: databases[name] }),
      transport: network.transport(),
      routes,
      logger: false,
      receive: { immediateRetries: 3 },
    })
  const registrar = make('registrar')
  const finance = make('finance', { 'students.register': 'registrar' })
  const failures = new Map<string, number>()
  registrar.handle(Register, async ({ name }, { tx, publish }) => {
    tx.set(`student ${name}`, ((tx.get(`student ${name}`) as number | undefined) ?? 0) + 1)
    await publish(Registered, { name }, { partitionKey: name })
    if (failures.get(name) === undefined) return
    failures.set(name, (failures.get(name) ?? 0) - 1)
    if ((failures.get(name) ?? 0) >= 0) throw new Error('a failure on purpose')
  })
  const billed: string[] = []
  registrar.handle(Billed, ({ name }) => void billed.push(name))
  finance.handle(Registered, async ({ name }, { tx, publish }) => {
    tx.set(`bill ${name}`, ((tx.get(`bill ${name}`) as number | undefined) ?? 0) + 1)
    await publish(Billed, { name })
  })
  const rows = (name: keyof typeof databases) =>
    memoryStore({ database: databases[name] }).unitOfWork(async (tx) =>
      Object.fromEntries(tx.entries()),
    )
  await Promise.all([registrar.start(), finance.start()])
  const stop = () => Promise.all([registrar.stop(), finance.stop()])
  return { registrar, finance, network, failures, billed, rows, stop }
}

test('a command becomes a student, a bill and an answer, each exactly once', async () => {
  const { registrar, finance, billed, rows, stop } = await setUp()
  const names = Array.from({ length: 50 }, (_, index) => `student-${index}`)
  await finance.transaction(async (_tx, { send }) => {
    for (const name of names) await send(Register, { name })
  })
  await drain([registrar, finance])
  expect(await rows('registrar')).toEqual(
    Object.fromEntries(names.map((name) => [`student ${name}`, 1])),
  )
  expect(await rows('finance')).toEqual(
    Object.fromEntries(names.map((name) => [`bill ${name}`, 1])),
  )
  expect(billed.sort()).toEqual(names.sort())
  await stop()
})

test('a handler that fails twice leaves no trace of the failed tries: no phantom event, no second student', async () => {
  const { registrar, finance, failures, rows, billed, stop } = await setUp()
  failures.set('Ada', 2)
  await registrar.transaction(async (_tx, { sendLocal }) => sendLocal(Register, { name: 'Ada' }))
  await drain([registrar, finance])
  expect(await rows('registrar')).toEqual({ 'student Ada': 1 })
  expect(await rows('finance')).toEqual({ 'bill Ada': 1 })
  expect(billed).toEqual(['Ada'])
  await stop()
})

test('a message that the broker delivers twice is handled once', async () => {
  const { registrar, finance, network, rows, billed, stop } = await setUp()
  const copy = network.transport()
  const message = {
    id: 'the-same-id',
    type: 'students.register',
    headers: {},
    body: new TextEncoder().encode('{"name":"Ada"}'),
    to: { transport: 'default', kind: 'queue', name: 'registrar' },
  } as const
  await Promise.all(copy.publish([message, message]))
  await Promise.all(copy.publish([message]))
  await drain([registrar, finance])
  expect(await rows('registrar')).toEqual({ 'student Ada': 1 })
  expect(await rows('finance')).toEqual({ 'bill Ada': 1 })
  expect(billed).toEqual(['Ada'])
  await stop()
})

test('a poison message becomes a dead letter with its bytes and holds up nobody', async () => {
  const { registrar, finance, network, rows, stop } = await setUp()
  const body = new TextEncoder().encode('{"name":')
  const poison = {
    id: 'poison',
    type: 'students.register',
    headers: { a: 'b' },
    body,
    to: { transport: 'default', kind: 'queue', name: 'registrar' },
  } as const
  await Promise.all(network.transport().publish([poison]))
  await registrar.transaction(async (_tx, { sendLocal }) => sendLocal(Register, { name: 'Ada' }))
  await drain([registrar, finance])
  expect(await network.deadLetters.list()).toMatchObject([
    { id: 'poison', reason: 'undecodable', headers: { a: 'b' }, body, place: 'registrar' },
  ])
  expect(await rows('registrar')).toEqual({ 'student Ada': 1 })
  await stop()
})
