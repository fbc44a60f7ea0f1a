import { connect } from 'node:net'
import { describe, expect, test } from 'vitest'
import { kindsHere, message, openBench } from './stores.ts'
import type { Running } from './project.ts'

/** Where it listens, and the token of its link. */
async function linkOf(running: Running) {
  const [, address = '', token] = await running.says(/(http:\/\/\S+:\d+)\/(?:#token=(\S+))?\n/)
  const ask = (path: string, init: RequestInit = {}): Promise<Response> =>
    fetch(`${address}/api/${path}`, {
      ...init,
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    })
  return { address, token, ask }
}

/** What it answers to a request for this host. */
function statusFor(address: string, host: string): Promise<string> {
  const { port } = new URL(address)
  return new Promise((resolve, reject) => {
    const socket = connect(Number(port), '127.0.0.1', () =>
      socket.write(`GET /api/me HTTP/1.1\r\nhost: ${host}\r\nconnection: close\r\n\r\n`),
    )
    let text = ''
    socket
      .setEncoding('utf8')
      .on('data', (part: string) => (text += part))
      .on('close', () => resolve(text.split(' ')[1] ?? ''))
      .on('error', reject)
  })
}

describe.each(await kindsHere())('mersal dashboard on %s', { timeout: 240_000 }, (kind) => {
  test('serves whoever has the link, and changes what --allow names, and nothing else', async () => {
    await using bench = await openBench(kind)
    await bench.send(message('a'), message('b', { queue: 'billing' }))
    await bench.kill()
    const running = bench.project.start(['dashboard', '--allow', 'retry', '--port', '0'])
    const { address, token, ask } = await linkOf(running)
    expect(token).toMatch(/^[\w-]{32}$/)
    expect((await fetch(`${address}/api/me`)).status).toBe(401)
    expect(await (await ask('me')).json()).toMatchObject({ rights: ['retry'] })
    const { sources } = (await (await ask('overview')).json()) as { sources: object[] }
    expect(sources).toMatchObject([
      { name: 'default', trouble: null, counts: { pending: 0, dead: 2 } },
    ])
    const { letters } = (await (await ask('dead?source=default')).json()) as {
      letters: { key: string }[]
    }
    expect(letters).toHaveLength(2)
    const body = JSON.stringify({ source: 'default', keys: [letters[0]!.key] })
    expect((await ask('dead/discard', { method: 'POST', body })).status).toBe(403)
    const retried = await ask('dead/retry', { method: 'POST', body })
    expect(await retried.json()).toMatchObject({ changed: 1 })
    expect(await bench.store.admin.stats()).toMatchObject({ pending: 1, dead: 1 })
    // A name of somebody else that is made to point here is not taken for ours.
    expect(await statusFor(address, 'evil.test')).toBe('421')
    expect(await statusFor(address, 'localhost')).toBe('401')
    expect((await running.signal('SIGTERM')).code).toBe(0)
  })
})

test('mersal dashboard says which store cannot be reached, and serves', async () => {
  await using bench = await openBench('sqlite', { migrated: false })
  bench.project.write(
    'store.db',
    'this is a text, and longer than the header of a database: '.repeat(9),
  )
  const running = bench.project.start(['dashboard', '--port', '0'])
  await running.says(/the store 'default' cannot be asked now: \S/)
  expect((await (await linkOf(running)).ask('overview')).status).toBe(200)
  expect((await running.signal('SIGTERM')).code).toBe(0)
})

test('mersal dashboard takes a token of the environment, and does not print it', async () => {
  await using bench = await openBench('sqlite')
  const env = { MERSAL_DASHBOARD_TOKEN: 'canary-s3cret-of-the-dashboard' }
  const running = bench.project.start(['dashboard', '--port', '0'], env)
  const { address } = await linkOf(running)
  const headers = { authorization: `Bearer ${env.MERSAL_DASHBOARD_TOKEN}` }
  expect((await fetch(`${address}/api/me`, { headers })).status).toBe(200)
  const { stdout, stderr } = await running.signal('SIGTERM')
  expect(stdout + stderr).not.toContain('canary')
})

test.each([
  [['--no-token', '--host', '0.0.0.0'], 'loopback'],
  [['--allow', 'everything'], 'retry,discard,pause,bodies'],
  [['more'], 'too much'],
])('mersal dashboard %s is refused', async (args, words) => {
  await using bench = await openBench('sqlite')
  const { code, stderr } = await bench.project.mersal(['dashboard', ...args])
  expect(code).toBe(2)
  expect(stderr).toContain(words)
})
