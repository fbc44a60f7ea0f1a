/** What a stranger does: the packed package in an empty folder, and the examples as they stand. */
import { cpSync, globSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { examplesOf } from '../house/examples.ts'
import { type Ended, lend, root, run } from './package.ts'
import { strangersFolder } from './tarball.ts'

/** What the pages of the examples say to install besides, and the types of it. */
const installed = [
  'express',
  'fastify',
  'hono',
  '@hono/node-server',
  'mysql2',
  'pg',
  'drizzle-orm',
  'zod',
  'amqplib',
  'msgpackr',
  '@nats-io/transport-node',
  '@nats-io/jetstream',
  '@redis/client',
  '@types/node',
  '@types/express',
  '@types/pg',
]

/** Programs; what serves the tests of this repository alone, and Nest, stay behind. */
const programs = globSync('examples/**/*.ts', { cwd: root }).filter(
  (path) => !/\.test\.ts$|^examples\/(?:nest|listen|program)|run-service|node_modules/.test(path),
)

/** Pages of which each example that is a whole program has to fit the package. */
const pages = ['sagas', 'replies', 'once', 'time', 'order', 'contracts', 'from-python']
const whole = pages
  .flatMap((name) => examplesOf(`docs/${name}.md`))
  .filter(({ code }) => /^import \{[^}]*\b(?:Mersal|rehearse)\b/m.test(code))

const printed: Readonly<Record<string, string>> = {
  'outbox-with-unit-of-work':
    '101 were not moved, and no event tells of it\n60 were moved, and an event tells of it\n{"anna":40,"ben":60}\n',
  'outbox-with-sql-transaction':
    '0 of tea are refused: no order, and no event\n2 of tea are order 1\n',
  'outbox-with-idempotency': '3 deliveries, 1 entry: [{"account":"anna","cents":60}]\n',
  'sending-from-http':
    'POST {"name": "Ada"}: 201 {"studentId":1}\nPOST {"name": "Ada"}: 409 {"error":"this name is taken"}\nPOST no JSON: 400 {"error":"expected { \\"name\\": \\"...\\" }"}\nPOST {"name": "Grace"}: 201 {"studentId":2}\n',
  'order-with-payment-timeout': 'order A is paid\norder B is cancelled, 40 goes back\n',
  'idempotent-checkout':
    'first:        201 {"order":1}\nagain:        201 (replayed) {"order":1}\nother body:   422 Idempotency-Key was used before\nother key:    201 {"order":2}\nwithout key:  400 Idempotency-Key is missing\ntwo at once:  201 (replayed) {"order":3} and 201 {"order":3}\n',
  tenants:
    'acme ships an anvil\nglobex ships a rope\ninitech ships a stapler\nacme is open\nglobex is open\ninitech is open\n',
  frameworks:
    'openExpress: 201 {"order":1}\nopenFastify: 201 {"order":1}\nopenHono: 201 {"order":1}\n',
}

describe('the packed package in an empty folder', () => {
  let place: ReturnType<typeof strangersFolder>
  beforeAll(() => {
    place = strangersFolder()
    for (const name of installed) lend(place, name)
    for (const path of programs) {
      mkdirSync(join(place.folder, dirname(path)), { recursive: true })
      cpSync(join(root, path), join(place.folder, path))
    }
    for (const { page, line, code } of whole) writeFileSync(fileOf(page, line), code)
  }, 600_000)
  afterAll(() => place[Symbol.dispose]())

  const fileOf = (page: string, line: number): string =>
    join(place.folder, `${page.replaceAll(/\W/g, '-')}-${line}.mts`)
  const node = (args: readonly string[]): Ended => run(place.folder, process.execPath, args)

  test('is what the imports mean, after the command of examples/README.md', () => {
    const page = readFileSync(join(root, 'examples/README.md'), 'utf8')
    const command = /^perl [\s\S]*?(?=^```$)/m.exec(page)?.[0]
    expect(command).toBeDefined()
    expect(run(place.folder, 'sh', ['-c', command!])).toEqual({ code: 0, text: '' })
    const left = programs.filter((path) =>
      readFileSync(join(place.folder, path), 'utf8').includes('/src/'),
    )
    expect(left).toEqual([])
  })

  test('compiles every example, and every program of the pages about the bus', {
    timeout: 600_000,
  }, () => {
    expect(programs.length).toBeGreaterThan(25)
    expect(whole.length).toBeGreaterThan(15)
    const settings = {
      compilerOptions: {
        module: 'nodenext',
        target: 'es2024',
        strict: true,
        noEmit: true,
        allowImportingTsExtensions: true,
        erasableSyntaxOnly: true,
        // Of clients; that ours can be checked is seen in typescript.test.ts.
        skipLibCheck: true,
        types: ['node'],
      },
      include: ['**/*.ts', '*.mts'],
    }
    writeFileSync(join(place.folder, 'tsconfig.json'), JSON.stringify(settings))
    const tsc = run(place.folder, join(root, 'node_modules/.bin/tsc'), ['--pretty', 'false'])
    expect(tsc).toEqual({ code: 0, text: '' })
  })

  test.each(Object.entries(printed))('runs the example %s', (name, text) => {
    expect(node([`examples/${name}/main.ts`])).toEqual({ code: 0, text })
  })

  const runs = pages.flatMap((name) => {
    const text = readFileSync(join(root, `docs/${name}.md`), 'utf8')
    const found = text.matchAll(
      /^```ts run\n(?<code>[\s\S]*?)^```\n+```text output\n(?<output>[\s\S]*?)^```$/gm,
    )
    return [...found].map(({ groups }) => ({
      name,
      ...(groups as { code: string; output: string }),
    }))
  })
  test.each(runs)('runs the program of $name that prints $output', ({ code, output }) => {
    const file = join(place.folder, 'program.mts')
    writeFileSync(file, code)
    expect(node([file])).toEqual({ code: 0, text: output })
  })
})
