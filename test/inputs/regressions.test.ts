import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Pool } from 'pg'
import { expect, test } from 'vitest'
import { loadConfig } from '../../src/cli/config/load-config.ts'
import { checkHeaders } from '../../src/core/messages/validation.ts'
import { Mersal, retryLater } from '../../src/index.ts'
import { memoryStore, memoryTransport } from '../../src/memory.ts'
import { postgres } from '../../src/postgres.ts'
import { sqlite } from '../../src/sqlite.ts'
import { headerProblem } from '../../src/transports/rabbitmq/publish/envelope.ts'

// Each of these was found by the inputs of this folder; what they need a server for is judged
// there.

test('P8: a sender cannot say how often its message was delivered', () => {
  for (const name of [
    'x-mersal-attempt',
    'X-Mersal-Attempt',
    'x-death',
    'x-delivery-count',
    'x-opt-delay',
  ]) {
    expect(() => checkHeaders({ [name]: '1000000' })).toThrow(/belongs to the transports/)
  }
})

test('P12: a header that RabbitMQ would lose makes a dead letter of the message, not another message', () => {
  expect(headerProblem({ 'x-mersal-attempt': '9' })).toMatch(/belongs to the transport/)
  expect(headerProblem(JSON.parse('{"__proto__": "a"}') as Record<string, string>)).toMatch(
    /belongs to the transport/,
  )
  expect(headerProblem({ 'X-A': '1', 'x-a': '2' })).toMatch(/given twice/)
  expect(headerProblem({ 'X-A': '1', 'x-b': '2' })).toBeUndefined()
})

test('P12: SQLite refuses text that it would change', async () => {
  await using store = sqlite({ path: ':memory:' })
  const message = {
    id: 'a',
    type: 't',
    headers: {},
    body: new Uint8Array(),
    to: { transport: 'default', kind: 'queue', name: 'q' },
  } as const
  const saving = store.unitOfWork((tx) => store.outbox.save(tx, [{ ...message, type: 'a\ud800' }]))
  await expect(saving).rejects.toMatchObject({
    code: 'MERSAL_INVALID_MESSAGE',
    details: { field: 'type' },
  })
})

test('a schema of the system is refused before anything is opened', () => {
  const pool = new Pool({ connectionString: 'postgres://nobody@127.0.0.1:1/none' })
  for (const schema of ['pg_catalog', 'pg_mersal', 'information_schema']) {
    expect(() => postgres({ pool, schema })).toThrow(/postgres\.schema/)
  }
})

test('an express lane that is neither true nor false is refused', () => {
  const options = {
    name: 'a',
    transport: memoryTransport(),
    store: memoryStore(),
    outbox: { relay: { express: 'no' as never } },
  }
  expect(() => new Mersal(options)).toThrow(/outbox\.relay\.express/)
})

test('retryLater() names its field when it refuses a time', () => {
  expect(() => retryLater(Number.NaN)).toThrow(
    expect.objectContaining({ details: { field: 'retryLater' } }),
  )
})

test('nothing comes after a dead letter that does not exist, and only its very key names one', async () => {
  const { deadLetters } = memoryStore().admin
  const { deadLetters: incoming } = memoryTransport()
  for (const key of ['x', '-1', ' 1', '1e3', '\0']) {
    expect(await deadLetters.list({ after: key })).toEqual([])
    expect(await incoming.list({ after: key })).toEqual([])
    expect(await incoming.discard([key])).toBe(0)
  }
})

test('a configuration with a very long word is read at once, and the secrets in its URLs are still hidden', {
  timeout: 240_000,
}, async () => {
  const folder = mkdtempSync(join(tmpdir(), 'mersal-word-'))
  try {
    const word = '0a'.repeat(150_000)
    writeFileSync(
      join(folder, 'mersal.config.mjs'),
      `// ${word} amqp://u:secret-word@host/v '\nexport default () => { throw new Error('enough') }`,
    )
    const hidden: string[] = []
    const loading = loadConfig({
      path: undefined,
      cwd: folder,
      env: {},
      hide: (text) => hidden.push(text),
    })
    await expect(loading).rejects.toThrow(/enough/)
    expect(hidden.some((text) => text.includes('://u:secret-word@'))).toBe(true)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})
