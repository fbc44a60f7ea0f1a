import { mkdirSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { sqlite, sqliteQueue } from '../../src/sqlite.ts'
import { openProject, type Project, sourceUrl } from './project.ts'
import { drainQueue, message } from './stores.ts'

const names = ['eu', 'us', 'asia']

/** Three stores in files; that of `asia` cannot be opened as long as its folder is missing. */
function threeStores(further = ''): Project {
  return openProject(`
import { defineConfig } from '${sourceUrl('cli/index.ts')}'
import { sqlite, sqliteQueue } from '${sourceUrl('sqlite.ts')}'
export default defineConfig({
  stores: {
    eu: sqlite({ path: 'eu.db' }),
    us: { store: sqlite({ path: 'us.db' }), relay: { pollIntervalMs: 100 } },
    asia: { store: sqlite({ path: 'asia/asia.db' }), transport: sqliteQueue({ path: 'queue-asia.db' }) },
  },
  transport: sqliteQueue({ path: 'queue.db' }),
  ${further}
})`)
}

async function send(project: Project, name: string, ...bodies: readonly string[]): Promise<void> {
  await using store = sqlite({
    path: project.file(name === 'asia' ? 'asia/asia.db' : `${name}.db`),
  })
  await store.open()
  await store.unitOfWork(async (tx) => {
    await store.outbox.save(
      tx,
      bodies.map((body) => message(body)),
    )
  })
}

async function declare(project: Project): Promise<void> {
  for (const file of ['queue.db', 'queue-asia.db']) {
    await using broker = sqliteQueue({ path: project.file(file) })
    await broker.subscribe('orders', [])
  }
}

async function until(check: () => Promise<boolean>): Promise<void> {
  while (!(await check())) await new Promise((resolve) => setTimeout(resolve, 50))
}

async function get(url: string): Promise<{ readonly status: number; readonly text: string }> {
  const response = await fetch(url)
  return { status: response.status, text: await response.text() }
}

describe('mersal with several stores', { timeout: 240_000 }, () => {
  test('relays all of them in one process, tells of each, and stops all of them on SIGTERM', async () => {
    await using project = threeStores()
    mkdirSync(project.file('asia'))
    await declare(project)
    for (const name of names) await send(project, name, `${name} 1`, `${name} 2`)
    const relay = project.start(['relay', '--port', '0'])
    const address = (
      await relay.says(
        /relay 'relay' runs: 3 stores to default \(sqlite\).*(http:\/\/[\d.:]+)\/metrics/,
      )
    )[1]!
    await until(async () =>
      /settled_total\{store="asia"\} 2/.test((await get(`${address}/metrics`)).text),
    )
    await until(async () =>
      /settled_total\{store="us"\} 2/.test((await get(`${address}/metrics`)).text),
    )
    await until(async () =>
      /settled_total\{store="eu"\} 2/.test((await get(`${address}/metrics`)).text),
    )
    // What waits is counted now and then, not for each look.
    await until(async () => {
      const seen = (await get(`${address}/metrics`)).text
      return names.every((name) => seen.includes(`mersal_outbox_pending{store="${name}"} 0\n`))
    })
    const { text } = await get(`${address}/metrics`)
    for (const name of names) {
      expect(text).toContain(
        `mersal_relay_published_total{store="${name}",destination="default/queue/orders",outcome="confirmed"} 2`,
      )
      expect(text).toContain(`mersal_relay_ready{store="${name}"} 1`)
      expect(text).toContain(`mersal_outbox_pending{store="${name}"} 0`)
    }
    expect(text.match(/^# HELP mersal_outbox_pending /gm)?.length).toBe(1)
    expect(await get(`${address}/readyz`)).toEqual({ status: 200, text: 'ready\n' })
    expect(await get(`${address}/readyz?store=us`)).toEqual({ status: 200, text: 'ready\n' })
    expect((await get(`${address}/readyz?store=no`)).status).toBe(404)
    const { code, stderr } = await relay.signal('SIGTERM')
    expect(code).toBe(0)
    expect(stderr).toContain('everything was settled')
    expect((await drainQueue(project.file('queue.db'), 'orders')).sort()).toEqual([
      'eu 1',
      'eu 2',
      'us 1',
      'us 2',
    ])
    expect((await drainQueue(project.file('queue-asia.db'), 'orders')).sort()).toEqual([
      'asia 1',
      'asia 2',
    ])
  })

  test('serves the others while one cannot be opened, says so, and begins with it when it can', async () => {
    await using project = threeStores()
    await declare(project)
    await send(project, 'eu', 'eu 1')
    const relay = project.start(['relay', '--port', '0'])
    const address = (await relay.says(/(http:\/\/[\d.:]+)\/metrics/))[1]!
    await relay.says(/the store could not be opened; trying again/)
    await until(async () =>
      /settled_total\{store="eu"\} 1/.test((await get(`${address}/metrics`)).text),
    )
    expect(await get(`${address}/readyz`)).toEqual({
      status: 200,
      text: 'ready\nasia: the store cannot be opened\n',
    })
    expect(await get(`${address}/readyz?store=asia`)).toEqual({
      status: 503,
      text: 'the store cannot be opened\n',
    })
    expect((await get(`${address}/metrics`)).text).toContain('mersal_relay_ready{store="asia"} 0')
    mkdirSync(project.file('asia'))
    await relay.says(/the store could be opened; its relay runs/)
    await send(project, 'asia', 'asia 1')
    await until(async () =>
      /settled_total\{store="asia"\} 1/.test((await get(`${address}/metrics`)).text),
    )
    expect((await relay.signal('SIGTERM')).code).toBe(0)
  })

  test('relays only those that --store names', async () => {
    await using project = threeStores()
    await declare(project)
    for (const name of ['eu', 'us']) await send(project, name, `${name} 1`)
    const relay = project.start(['relay', '--port', '0', '--store', 'us'])
    const address = (await relay.says(/1 store .*(http:\/\/[\d.:]+)\/metrics/))[1]!
    await until(async () =>
      /settled_total\{store="us"\} 1/.test((await get(`${address}/metrics`)).text),
    )
    expect((await relay.signal('SIGTERM')).code).toBe(0)
    expect(await drainQueue(project.file('queue.db'), 'orders')).toEqual(['us 1'])
  })

  test('shows a line for each store, and all of one that is named', async () => {
    await using project = threeStores()
    await send(project, 'eu', 'a', 'b')
    await send(project, 'us')
    const all = await project.mersal(['status', '--json'])
    const { stores } = JSON.parse(all.stdout) as {
      readonly stores: readonly Record<string, unknown>[]
    }
    expect(stores).toMatchObject([
      { store: 'eu', pending: 2 },
      { store: 'us', pending: 0 },
      { store: 'asia' },
    ])
    expect(stores[2]!['error']).toContain("run 'mersal migrate' first")
    expect(all.code).toBe(1)
    const text = await project.mersal(['status'])
    expect(text.stdout).toMatch(/^eu +2 +2 /m)
    const one = await project.mersal(['status', '--store', 'eu', '--quick'])
    expect(one.code).toBe(0)
    expect(one.stdout).toContain('default/queue/orders')
  })

  test('pauses, lists and examines the one that --store names, and asks for a name where it is needed', async () => {
    await using project = threeStores()
    await declare(project)
    for (const name of ['eu', 'us']) await send(project, name, 'a')
    expect(await project.mersal(['pause', 'key', 'k', '--store', 'us'])).toMatchObject({ code: 0 })
    expect((await project.mersal(['pause', 'list', '--store', 'us'])).stdout).toContain('key')
    expect((await project.mersal(['pause', 'list', '--store', 'eu'])).stdout).toContain(
      'nothing is paused',
    )
    for (const args of [
      ['pause', 'key', 'k'],
      ['resume', 'key', 'k'],
      ['dead', 'list'],
      ['replay', '--all'],
    ]) {
      const { code, stderr } = await project.mersal(args)
      expect(stderr).toContain('say which store: --store NAME, one of eu, us, asia')
      expect(code).toBe(2)
    }
    expect((await project.mersal(['dead', 'list', '--store', 'eu'])).stdout).toContain(
      'no dead letters',
    )
    expect((await project.mersal(['dead', 'list', '--store', 'asai'])).stderr).toContain(
      "did you mean 'asia'?",
    )
    const doctor = await project.mersal(['doctor', '--store', 'eu', '--json'])
    expect(doctor.stdout).toContain('eu: ')
    expect(doctor.stdout).not.toContain('us: ')
    expect((await project.mersal(['migrate', '--check', '--store', 'eu'])).code).toBe(0)
  })
})

describe('a configuration with several stores', { timeout: 240_000 }, () => {
  const wrong: readonly (readonly [string, string, string])[] = [
    [
      'store and stores',
      "store: sqlite({ path: 'x.db' }), stores: { a: sqlite({ path: 'a.db' }) }",
      "config.stores: give either 'store'",
    ],
    ['no stores', 'stores: {}', 'config.stores: is empty'],
    [
      'a name that is no name',
      "stores: { 'a b': sqlite({ path: 'a.db' }) }",
      'a store is called by',
    ],
    ['something else', 'stores: { a: 7 }', 'config.stores.a: expected an object'],
  ]
  test.each(wrong)('is refused with %s', async (_, fields, text) => {
    await using project = openProject(`
import { sqlite } from '${sourceUrl('sqlite.ts')}'
export default { ${fields} }`)
    const { code, stderr } = await project.mersal(['status'])
    expect(stderr).toContain(text)
    expect(code).toBe(1)
  })

  test('does not know --store where there is one', async () => {
    await using project = openProject(`
import { sqlite } from '${sourceUrl('sqlite.ts')}'
export default { store: sqlite({ path: 'a.db' }) }`)
    const { code, stderr } = await project.mersal(['status', '--store', 'a'])
    expect(stderr).toContain("the configuration has one store, and no 'stores' to choose from")
    expect(code).toBe(2)
  })
})
