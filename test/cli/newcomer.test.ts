import { execFile } from 'node:child_process'
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { examplesOf } from '../house/examples.ts'
import { root } from '../house/sources.ts'
import { serverAnswers } from '../postgres/database.ts'
import { ownDatabase } from '../postgres/own-database.ts'
import { build } from '../projects/build.ts'
import { openVhost, rabbitIsHere } from '../rabbitmq/broker.ts'

const run = promisify(execFile)
const onServers = (await serverAnswers()) && (await rabbitIsHere())
const online = process.env['CI'] === 'true'

/** Outside of the repository, where nothing but what was installed can be found. */
const top = mkdtempSync(join(tmpdir(), 'mersal-newcomer-'))
let tarball: string
afterAll(() => rmSync(top, { recursive: true, force: true }))

/** What a shell of a newcomer has: no variables of this test, and the Node of this repository. */
function surroundings(): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(
    ([name]) => !/_URL$|^NODE_(?!EXTRA_CA)|^VITEST|^npm_|^CI$/.test(name),
  )
  return {
    ...Object.fromEntries(kept),
    PATH: `${join(root, 'node_modules/.bin')}:${process.env['PATH']}`,
  }
}

/** A line as it is typed. Rejects, with what it printed, unless it ends well. */
async function type(folder: string, line: string): Promise<string> {
  const { stdout, stderr } = await run('sh', ['-c', line], {
    cwd: folder,
    env: surroundings(),
    timeout: 120_000,
  })
  return stdout + stderr
}

/** `npm pack` of a build of this run, since others may be building in the repository. */
async function pack(): Promise<string> {
  const folder = join(top, 'package')
  mkdirSync(folder)
  build(join(folder, 'dist'))
  for (const name of ['package.json', 'README.md', 'LICENSE', 'CHANGELOG.md', 'docs'])
    cpSync(join(root, name), join(folder, name), { recursive: true })
  await type(folder, 'npm pack --ignore-scripts')
  return join(
    folder,
    readdirSync(folder).find((name) => name.endsWith('.tgz')) ?? 'there is no tarball',
  )
}

/** `npm init -y && npm install mersal …`, as the README says it. */
async function newcomersFolder(name: string, clients: readonly string[]): Promise<string> {
  const folder = join(top, name)
  mkdirSync(folder)
  const fromRegistry = online ? clients : []
  await type(
    folder,
    `npm init -y && npm install ${online ? '' : '--offline'} --no-audit --no-fund ${[tarball, ...fromRegistry].join(' ')}`,
  )
  if (!online) link(folder, clients)
  return folder
}

/** Without a network: the clients of this repository, listed as npm would list them. */
function link(folder: string, clients: readonly string[]): void {
  const path = join(folder, 'package.json')
  const manifest = JSON.parse(readFileSync(path, 'utf8')) as {
    readonly dependencies: Record<string, string>
  }
  for (const client of clients) {
    symlinkSync(join(root, 'node_modules', client), join(folder, 'node_modules', client))
    manifest.dependencies[client] = '*'
  }
  writeFileSync(path, JSON.stringify(manifest))
}

/**
 * Types every step that `init` prints and answers what the steps printed, by step. What is to be
 * written into a file comes from `values`.
 */
async function followSteps(
  folder: string,
  told: string,
  values: Readonly<Record<string, string>> = {},
): Promise<Map<string, string>> {
  const printed = new Map<string, string>()
  for (const [, step] of told.matchAll(/^ +\d\. (.*)$/gm)) {
    const [, file, name] = /^write into (\S+): (\w+)=/.exec(step!) ?? []
    if (file === undefined) printed.set(step!, await type(folder, step!))
    else writeFileSync(join(folder, file), `${name}=${values[name!]}\n`, { flag: 'a' })
  }
  return printed
}

describe('somebody who has nothing but the tarball', { timeout: 240_000 }, () => {
  beforeAll(async () => {
    tarball = await pack()
  })

  test('runs the first example of the README, and after it what init writes on SQLite, by the steps that it prints', async () => {
    const folder = await newcomersFolder('sqlite', [])
    writeFileSync(join(folder, 'first.mts'), examplesOf('README.md')[0]!.code)
    const promised = /^```text output\n([\s\S]*?)^```$/m.exec(
      readFileSync(join(root, 'README.md'), 'utf8'),
    )?.[1]
    expect(promised).toContain('finance')
    expect(await type(folder, 'node first.mts')).toBe(promised)

    const told = await type(folder, 'npx mersal init')
    expect(told).toContain('Database: sqlite. Broker: sqlite.')
    const printed = await followSteps(folder, told)
    expect([...printed.keys()]).toEqual(['npx mersal migrate', 'node app.mjs', 'npx mersal status'])
    expect(printed.get('node app.mjs')).toBe('an order for tea was placed\n')
    expect(printed.get('npx mersal status')).toContain('pending 0 (due 0, claimed 0), dead 0')
    expect(await type(folder, 'npx mersal doctor')).toMatch(/\n0 faults, 0 warnings\n$/)
    // It may be run again, and takes back its queue each time; those of the first example are in
    // the same file.
    expect(await type(folder, 'node app.mjs')).toBe('an order for tea was placed\n')
    using queue = new DatabaseSync(join(folder, 'queue.db'), { readOnly: true })
    expect(queue.prepare('SELECT name FROM mersal_queues ORDER BY name').all()).toEqual([
      { name: 'finance' },
      { name: 'registrar' },
    ])
  })

  test.runIf(onServers)(
    'runs what init writes for PostgreSQL and RabbitMQ, by the steps that it prints',
    async () => {
      await using database = await ownDatabase()
      await using place = await openVhost()
      const folder = await newcomersFolder('servers', ['pg', 'amqplib'])
      const told = await type(folder, 'npx mersal init')
      expect(told).toContain('Database: postgres. Broker: rabbitmq.')
      const printed = await followSteps(folder, told, {
        DATABASE_URL: database.url,
        AMQP_URL: place.url,
      })
      expect([...printed.keys()]).toEqual([
        'npx mersal migrate --env .env',
        'node --env-file=.env app.mjs',
        'npx mersal status --env .env',
      ])
      expect(printed.get('node --env-file=.env app.mjs')).toBe('an order for tea was placed\n')
      expect(printed.get('npx mersal status --env .env')).toContain(
        'pending 0 (due 0, claimed 0), dead 0',
      )
      expect(await type(folder, 'npx mersal doctor --env .env')).toMatch(
        /\n0 faults, \d warnings?\n$/,
      )
      const lists = [
        await place.ctl('list_queues', '-p', place.vhost, 'name'),
        await place.ctl('list_bindings', '-p', place.vhost, 'source_name', 'destination_name'),
      ]
      expect(
        lists.map((list) => list.trim().split('\n').slice(1)),
        'neither a queue nor a binding is left',
      ).toEqual([[], []])
    },
  )
})
