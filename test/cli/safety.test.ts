import { describe, expect, test } from 'vitest'
import { type Ended, openProject, postgresConfig, sourceUrl, sqliteConfig } from './project.ts'
import { type Kind, kindsHere, message, openBench } from './stores.ts'

const kinds: readonly Kind[] = await kindsHere()

/** A password that must be seen nowhere, with what has to be encoded in a URL. */
const CANARY = 'k4nary/p#ss:w@rd'
const ENCODED = encodeURIComponent(CANARY)
const verbs: readonly (readonly string[])[] = [
  ['migrate'],
  ['migrate', '--check', '--json'],
  ['relay', '--no-http'],
  ['status'],
  ['dead', 'list'],
  ['dead', 'list', '--queue', 'orders'],
  ['pause', 'key', 'k'],
  ['replay', '--all', '--yes'],
  ['doctor'],
  ['doctor', '--json'],
]

function expectNoSecret({ stdout, stderr }: Ended): void {
  const text = stdout + stderr
  expect(text.length).toBeGreaterThan(0)
  for (const form of [CANARY, ENCODED, Buffer.from(CANARY).toString('base64'), 'k4nary'])
    expect(text).not.toContain(form)
}

describe('no password is printed', { timeout: 240_000 }, () => {
  test.each(verbs.map((args) => [args.join(' '), args] as const))(
    'by %s, when neither server answers',
    async (_, args) => {
      await using project = openProject()
      const env = {
        DATABASE_URL: `postgres://app:${ENCODED}@127.0.0.1:1/shop`,
        AMQP_URL: `amqp://app:${ENCODED}@127.0.0.1:1/`,
      }
      const ended = await project.mersal(args, env)
      expect([1, 3]).toContain(ended.code)
      expectNoSecret(ended)
    },
  )

  test.each([
    ['a port that is none', `postgres://app:${ENCODED}@127.0.0.1:port/shop`],
    ['a password that is not encoded', `postgres://app:${CANARY}@127.0.0.1:1/shop`],
    ['another kind of address', `mongodb://app:${ENCODED}@127.0.0.1/shop`],
    ['a password as a parameter', `postgres://127.0.0.1:1/shop?user=app&password=${ENCODED}`],
  ])('when DATABASE_URL has %s', async (_, url) => {
    await using project = openProject()
    const ended = await project.mersal(['status'], { DATABASE_URL: url })
    expect(ended.code).toBe(1)
    expectNoSecret(ended)
  })

  test.each([
    ['stands in the file', postgresConfig(`postgres://app:${ENCODED}@127.0.0.1:1/shop`, 'mersal')],
    [
      'is in an error that the file throws',
      `throw new Error('cannot reach postgres://app:${CANARY}@db/shop, password ' + ${JSON.stringify(CANARY)}) // 'x://u:${ENCODED}@h'`,
    ],
    [
      'is in a line that is no TypeScript',
      `const url = 'postgres://app:${ENCODED}@db/shop' oops oops`,
    ],
    ['is in an address that is none', `new URL('postgres//app:${ENCODED}@ db/shop')`],
    [
      'is in options that do not exist',
      `import { defineConfig } from '${sourceUrl('cli/index.ts')}'\nexport default defineConfig({ 'postgres://app:${ENCODED}@db/shop': 1 } as never)`,
    ],
  ])('when it %s of the configuration', async (_, config) => {
    await using project = openProject(config)
    const ended = await project.mersal(['status'])
    expect(ended.code).toBe(1)
    expectNoSecret(ended)
  })

  test('by a relay whose broker refuses the password, nor in its metrics', async () => {
    await using bench = await openBench('sqlite')
    bench.project.write(
      'mersal.config.ts',
      sqliteConfig(
        '',
        `bridges: { other: rabbitmq({ url: process.env.AMQP_URL!, connectTimeoutMs: 2000 }) },`,
      ).replace(
        'export default',
        `import { rabbitmq } from '${sourceUrl('rabbitmq.ts')}'\nexport default`,
      ),
    )
    await bench.send(message('a', { to: { transport: 'other', kind: 'queue', name: 'orders' } }))
    const relay = bench.project.start(['relay', '--port', '0', '--verbose'], {
      AMQP_URL: `amqp://guest:${ENCODED}@127.0.0.1:5672/`,
    })
    const address = (await relay.says(/(http:\/\/[\d.:]+)\/metrics/))[1]!
    await relay.says(/RabbitMQ/)
    const metrics = await (await fetch(`${address}/metrics`)).text()
    const ended = await relay.signal('SIGTERM')
    expectNoSecret(ended)
    expect(metrics).not.toContain('k4nary')
  })

  test('when it is given on the command line, where it does not belong', async () => {
    await using project = openProject()
    expectNoSecret(await project.mersal([`postgres://app:${ENCODED}@db/shop`]))
    expectNoSecret(
      await project.mersal(['status', '--config', `postgres://app:${ENCODED}@db/shop`]),
    )
    expectNoSecret(await project.mersal(['status', `--url=postgres://app:${ENCODED}@db/shop`]))
  })

  test('by what the configuration or a logger prints past the program', async () => {
    await using project = openProject(
      `console.log('to', process.env.DATABASE_URL, '\\u001b[31m')\nprocess.stderr.write(Buffer.from(process.env.DATABASE_URL!))\n${sqliteConfig()}`,
    )
    const ended = await project.mersal(['migrate'], {
      DATABASE_URL: `postgres://app:${ENCODED}@db/shop`,
    })
    expect(ended).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('to postgres://***@db/shop') as string,
    })
    expectNoSecret(ended)
    expect(ended.stdout).not.toMatch(UNSAFE)
  })

  test('and JSON stays JSON, whatever the password looks like', async () => {
    await using bench = await openBench('sqlite')
    await bench.send(...Array.from({ length: 12 }, () => message('a')))
    for (const password of ['pending', 'store', '1212', '"}]']) {
      const env = {
        SOME_URL: `amqp://app:${password}@127.0.0.1/`,
        OTHER_URL: 'x://pending:pending@h/',
      }
      const { stdout } = await bench.project.mersal(['status', '--json', '--quick'], env)
      expect(JSON.parse(stdout)).toMatchObject({ pending: 12, store: 'sqlite' })
    }
  })

  test('from the error of a dead letter', async () => {
    await using bench = await openBench('sqlite')
    await bench.send(message('a'))
    await bench.kill({ error: new Error(`no way to amqp://app:${ENCODED}@broker/`) })
    for (const args of [
      ['dead', 'list'],
      ['dead', 'list', '--json'],
    ])
      expectNoSecret(await bench.project.mersal(args))
  })
})

/**
 * Colours, a title of the window, a second line, a line that overwrites itself, text from right to
 * left, C1, an invisible one.
 */
const HOSTILE = 'a\u001b[31mb\u001b]0;title\u0007c\r\nd\u202ee\u009bf\u2028g\u200bh\ti'
// oxlint-disable-next-line no-control-regex -- that is what is looked for
const UNSAFE = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2066-\u2069]/

describe.each(kinds)(
  'what came from elsewhere moves no cursor, on %s',
  { timeout: 240_000 },
  (kind) => {
    test('in any text, and comes unchanged out of JSON', async () => {
      await using bench = await openBench(kind)
      const { mersal } = bench.project
      await bench.send(
        message(HOSTILE, {
          type: HOSTILE,
          partitionKey: HOSTILE,
          queue: HOSTILE,
          headers: { note: HOSTILE },
        }),
      )
      await bench.kill({ onDead: 'block-key', error: new Error(HOSTILE) })
      await bench.send(message('b', { partitionKey: HOSTILE, queue: HOSTILE }))
      await bench.store.operations!.pauses!.pause({ kind: 'key', name: HOSTILE }, HOSTILE)
      const listed = await mersal(['dead', 'list', '--json', '--body'])
      const [letter] = JSON.parse(listed.stdout) as Record<string, unknown>[]
      expect(letter).toMatchObject({
        type: HOSTILE,
        partitionKey: HOSTILE,
        place: `default/queue/${HOSTILE}`,
        headers: { note: HOSTILE },
        // The store gives up rows whose names have control characters when it claims them.
        error: expect.stringContaining('type: must have 1 to 255 bytes'),
      })
      expect(Buffer.from(letter!['bodyBase64'] as string, 'base64').toString()).toBe(HOSTILE)
      const status = await mersal(['status', '--json', '--quick'])
      expect(JSON.parse(status.stdout)).toMatchObject({
        keys: [{ key: HOSTILE }],
        pauses: [{ name: HOSTILE, reason: HOSTILE }],
      })
      const texts = [
        listed,
        status,
        await mersal(['dead', 'list']),
        await mersal(['dead', 'show', letter!['key'] as string, '--body']),
        await mersal(['status', '--quick']),
        await mersal(['pause', 'list']),
      ]
      for (const { stdout, stderr } of texts) expect(stdout + stderr).not.toMatch(UNSAFE)
      // One line per fact: nothing has made a second one.
      expect((await mersal(['dead', 'list'])).stdout.trim().split('\n')).toHaveLength(2)
    })

    test('in the logs and metrics of a relay', async () => {
      await using bench = await openBench(kind, { further: 'relay: { maxAttempts: 1 },' })
      await bench.send(message('a', { type: HOSTILE, queue: HOSTILE }))
      const relay = bench.project.start(['relay', '--port', '0'])
      const address = (await relay.says(/(http:\/\/[\d.:]+)\/metrics/))[1]!
      await relay.says(/a message was given up/)
      const metrics = await (await fetch(`${address}/metrics`)).text()
      const { stderr } = await relay.signal('SIGTERM')
      for (const line of stderr.trim().split('\n')) {
        expect(line).not.toMatch(UNSAFE)
        JSON.parse(line)
      }
      expect(metrics).toContain('mersal_relay_dead_total{destination="default/queue/a')
      for (const line of metrics.trim().split('\n'))
        expect(line).toMatch(/^(?:# (?:HELP|TYPE) .*|[a-z_]+(?:\{.*\})? -?[\d.e+-]+)$/)
    })
  },
)
