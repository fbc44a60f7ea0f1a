import { execFile, spawnSync } from 'node:child_process'
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join, relative } from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, test } from 'vitest'
import { entries } from '../../scripts/public-api.ts'
import { root } from '../house/sources.ts'
import { serverAnswers, serverUrl, testDatabase } from '../postgres/database.ts'
import { serverAnswers as mysqlAnswers, testDatabase as mysqlDatabase } from '../mysql/server.ts'
import { openVhost, type Place, rabbitIsHere } from '../rabbitmq/broker.ts'
import { openProject, type Project, sourceUrl } from './project.ts'

const run = promisify(execFile)
const present = {
  postgres: await serverAnswers(),
  rabbitmq: await rabbitIsHere(),
  mysql: await mysqlAnswers(),
}

/** `mersal` as it would be installed, made of the sources; and whichever clients. */
function install(project: Project, ...clients: readonly string[]): void {
  // Without it, 'mersal' would be this repository, in which the project lies.
  project.write('package.json', '{ "private": true }')
  const folder = project.file('node_modules/mersal')
  mkdirSync(folder, { recursive: true })
  const exports: Record<string, string> = {}
  for (const [path, file] of entries()) {
    const name = `${path.slice(2) || 'index'}.js`
    exports[path] = `./${name}`
    writeFileSync(
      join(folder, name),
      `export * from '${sourceUrl(file.replace(/\.d\.ts$/, '.ts'))}'\n`,
    )
  }
  writeFileSync(
    join(folder, 'package.json'),
    JSON.stringify({ name: 'mersal', version: '0.0.0', type: 'module', exports }),
  )
  for (const client of clients)
    symlinkSync(join(root, 'node_modules', client), project.file(`node_modules/${client}`))
}

/** The steps that `init` tells, up to the app itself. */
async function follow(
  project: Project,
  ending: string,
  env: Readonly<Record<string, string>> = {},
): Promise<string> {
  expect(await project.mersal(['migrate'], env)).toMatchObject({ code: 0 })
  const { stdout } = await run(process.execPath, [`app.${ending}`], {
    cwd: project.folder,
    env: { ...process.env, ...env },
    timeout: 60_000,
  })
  expect(await project.mersal(['status', '--quick'], env)).toMatchObject({
    code: 0,
    stdout: expect.stringContaining('pending 0') as string,
  })
  return stdout
}

describe('mersal init', { timeout: 240_000 }, () => {
  test('in an empty folder writes JavaScript on SQLite that runs as it is', async () => {
    await using project = openProject()
    install(project)
    const { code, stdout } = await project.mersal(['init'])
    expect(code).toBe(0)
    expect(stdout).toContain('Database: sqlite. Broker: sqlite.')
    expect(stdout).toContain('node app.mjs')
    expect(await follow(project, 'mjs')).toBe('an order for tea was placed\n')
  })

  test('in a TypeScript project writes TypeScript that compiles and runs', async () => {
    await using project = openProject()
    install(project)
    project.write(
      'package.json',
      JSON.stringify({ type: 'module', devDependencies: { typescript: '*' } }),
    )
    project.write('tsconfig.json', '{}')
    expect((await project.mersal(['init'])).code).toBe(0)
    expect(await follow(project, 'ts')).toBe('an order for tea was placed\n')
    keepIn(project, 'found')
    // Any store with any broker, and RabbitMQ without its address as well.
    for (const store of ['sqlite', 'postgres', 'mysql'])
      for (const transport of ['sqlite', 'postgres', 'mysql', 'rabbitmq']) {
        const options = ['--store', store, '--transport', transport]
        const { code, stderr } = await project.mersal(['init', '--force', ...options])
        // Two databases have no address in common.
        const two =
          ['postgres', 'mysql'].includes(store) && ['postgres', 'mysql'].includes(transport)
        if (two && store !== transport) {
          expect([code, stderr]).toEqual([1, expect.stringContaining('DATABASE_URL')])
          continue
        }
        expect([store, transport, code]).toEqual([store, transport, 0])
        keepIn(project, `${store}-${transport}`)
      }
    // All at once: each run of the compiler reads the whole package.
    expect(compile(project)).toBe('')
  })

  test.skipIf(!present.mysql)(
    'on MariaDB writes an app that runs, with its queue beside its store',
    async () => {
      await using project = openProject()
      await using database = await mysqlDatabase()
      install(project, 'mysql2')
      project.write('package.json', JSON.stringify({ dependencies: { mysql2: '*' } }))
      const { stdout } = await project.mersal(['init'])
      expect(stdout).toContain('Database: mysql. Broker: mysql.')
      const env = { DATABASE_URL: database.url }
      expect(await follow(project, 'mjs', env)).toBe('an order for tea was placed\n')
      expect(await project.mersal(['doctor'], env)).toMatchObject({ code: 0 })
      expect(await project.mersal(['dead', 'queues'], env)).toMatchObject({ code: 0 })
    },
  )

  test('writes a .mts file where a .ts file would not be a module', async () => {
    await using project = openProject()
    install(project)
    project.write('package.json', JSON.stringify({ type: 'commonjs' }))
    project.write('tsconfig.json', '{}')
    expect((await project.mersal(['init'])).stdout).toContain('wrote mersal.config.mts')
    expect(await follow(project, 'mts')).toBe('an order for tea was placed\n')
  })

  test('uses better-sqlite3 where the project has it', async () => {
    await using project = openProject()
    install(project, 'better-sqlite3')
    project.write(
      'package.json',
      JSON.stringify({ type: 'module', dependencies: { 'better-sqlite3': '*' } }),
    )
    await project.mersal(['init'])
    expect(readFileSync(project.file('mersal.config.js'), 'utf8')).toContain(
      `new Database('app.db')`,
    )
    expect(await follow(project, 'js')).toBe('an order for tea was placed\n')
  })

  test('overwrites nothing without --force, and then writes neither file', async () => {
    await using project = openProject()
    project.write('app.mjs', 'mine')
    expect(await project.mersal(['init'])).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('app.mjs exists already; nothing was written') as string,
    })
    expect(existsSync(project.file('mersal.config.mjs'))).toBe(false)
    expect(readFileSync(project.file('app.mjs'), 'utf8')).toBe('mine')
    expect((await project.mersal(['init', '--force'])).code).toBe(0)
    expect(readFileSync(project.file('app.mjs'), 'utf8')).toContain('new Mersal')
  })

  test('prints steps that work as they are typed, with variables in a file', async () => {
    await using project = openProject()
    install(project)
    const told = (await project.mersal(['init', '--store', 'postgres', '--transport', 'rabbitmq']))
      .stdout
    const commands = [...told.matchAll(/^ +\d\. npx mersal (.*)$/gm)].map(([, line]) =>
      line!.split(' '),
    )
    expect(commands).toEqual([
      ['migrate', '--env', '.env'],
      ['status', '--env', '.env'],
    ])
    expect(told).toContain('node --env-file=.env app.mjs')
    // The same lines against SQLite: the program must take the option where the step has put it.
    project.write(
      'mersal.config.mjs',
      `import { sqlite } from 'mersal/sqlite'\nexport default { store: sqlite({ path: process.env.FILE }) }\n`,
    )
    project.write('.env', 'FILE=steps.db\n')
    for (const command of commands) expect(await project.mersal(command)).toMatchObject({ code: 0 })
    expect(existsSync(project.file('steps.db'))).toBe(true)
  })

  test('names in its steps the file that it was given itself', async () => {
    await using project = openProject()
    project.write('local.env', 'DATABASE_URL=postgres://127.0.0.1/test\n')
    const { stdout } = await project.mersal(['init', '--env', 'local.env'])
    expect(stdout).toContain('npx mersal migrate --env local.env')
    expect(stdout).not.toContain('write into')
  })

  test('says what is missing, and refuses what it does not know', async () => {
    await using project = openProject()
    const { stdout } = await project.mersal([
      'init',
      '--store',
      'postgres',
      '--transport',
      'rabbitmq',
    ])
    expect(stdout).toContain('write into .env: DATABASE_URL=postgres://')
    expect(stdout).toContain('write into .env: AMQP_URL=amqp://')
    expect(await project.mersal(['init', '--store', 'mongo'])).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('expected postgres or mysql or sqlite') as string,
    })
  })
})

describe.runIf(present.postgres)('mersal init with PostgreSQL', { timeout: 240_000 }, () => {
  test('finds the database in the environment and writes an app whose queue is there as well', async () => {
    await using database = await testDatabase()
    await using project = openProject()
    install(project, 'pg')
    const env = { DATABASE_URL: `${serverUrl}?options=-csearch_path%3D${database.schema}` }
    expect((await project.mersal(['init'], env)).stdout).toContain(
      'Database: postgres. Broker: postgres.',
    )
    // In a schema of the test, not in that of everybody.
    for (const name of ['postgres({ pool })', 'postgresQueue({ pool })'])
      replaceIn(project, name, name.replace('pool', `pool, schema: '${database.schema}'`))
    expect(await follow(project, 'mjs', env)).toBe('an order for tea was placed\n')
  })

  test.runIf(present.rabbitmq)(
    'finds RabbitMQ by its package, and the name of its variable',
    async () => {
      await using database = await testDatabase()
      await using place = await openVhost()
      await using project = openProject()
      install(project, 'pg', 'amqplib')
      const env = { DATABASE_URL: serverUrl, RABBITMQ_URL: place.url }
      expect((await project.mersal(['init'], env)).stdout).toContain(
        'Database: postgres. Broker: rabbitmq.',
      )
      expect(readFileSync(project.file('mersal.config.mjs'), 'utf8')).toContain(
        'process.env.RABBITMQ_URL',
      )
      replaceIn(project, 'postgres({ pool })', `postgres({ pool, schema: '${database.schema}' })`)
      expect(await follow(project, 'mjs', env)).toBe('an order for tea was placed\n')
      expect(await leftBehind(place), 'the first app has taken back its queues and bindings').toBe(
        '',
      )
    },
  )

  test.runIf(present.rabbitmq)(
    'writes a configuration that needs no address of the broker where the broker is not needed',
    async () => {
      await using database = await testDatabase()
      await using project = openProject()
      install(project, 'pg', 'amqplib')
      const env = { DATABASE_URL: serverUrl }
      await project.mersal(['init', '--transport', 'rabbitmq'], env)
      replaceIn(project, 'postgres({ pool })', `postgres({ pool, schema: '${database.schema}' })`)
      for (const verb of [
        ['migrate'],
        ['migrate', '--check'],
        ['status', '--quick'],
        ['dead', 'list'],
        ['dead', 'queues'],
        ['pause', 'list'],
      ])
        expect([verb, await project.mersal(verb, env)]).toMatchObject([
          verb,
          { code: 0, stderr: '' },
        ])
      const examined = await project.mersal(['doctor'], env)
      expect(examined).toMatchObject({
        code: 0,
        stdout: expect.stringContaining('0 faults, 1 warning\n') as string,
      })
      expect(examined.stdout).toContain('set AMQP_URL')
      expect(await project.mersal(['relay', '--no-http'], env)).toMatchObject({
        code: 1,
        stderr: expect.stringContaining('set AMQP_URL') as string,
      })
      const app = spawnSync(process.execPath, ['app.mjs'], {
        cwd: project.folder,
        env: { ...process.env, ...env, AMQP_URL: '' },
      })
      expect(app.status).toBe(1)
      expect(app.stderr.toString()).toContain('the environment variable AMQP_URL is not set')
    },
  )
})

/** What is at the broker, except for what every vhost has. */
async function leftBehind(place: Place): Promise<string> {
  const lists = [
    await place.ctl('list_queues', '-p', place.vhost, 'name'),
    await place.ctl('list_bindings', '-p', place.vhost, 'source_name', 'destination_name'),
  ]
  return lists.map((list) => list.split('\n').slice(1).join('\n')).join('')
}

function replaceIn(project: Project, text: string, by: string): void {
  const before = readFileSync(project.file('mersal.config.mjs'), 'utf8')
  expect(before).toContain(text)
  project.write('mersal.config.mjs', before.replace(text, by))
}

/** Keeps what `init` has written, before it writes something else in its place. */
function keepIn(project: Project, folder: string): void {
  mkdirSync(project.file(folder))
  for (const name of ['app.ts', 'mersal.config.ts'])
    copyFileSync(project.file(name), join(project.file(folder), name))
}

/** What the compiler says about the kept files, under the options of this house. */
function compile(project: Project): string {
  const up = relative(project.folder, root)
  const paths = Object.fromEntries(
    [...entries()].map(([path, file]) => [
      `mersal${path.slice(1)}`,
      [`${up}/src/${file.replace('.d.ts', '.ts')}`],
    ]),
  )
  const compilerOptions = {
    noEmit: true,
    isolatedDeclarations: false,
    declaration: false,
    rewriteRelativeImportExtensions: false,
    paths,
  }
  project.write(
    'tsconfig.json',
    JSON.stringify({ extends: `${up}/tsconfig.json`, compilerOptions, include: ['*/*.ts'] }),
  )
  const { stdout, status } = spawnSync(join(root, 'node_modules/.bin/tsc'), ['-p', '.'], {
    encoding: 'utf8',
    cwd: project.folder,
  })
  return status === 0 ? '' : stdout
}
