import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { serverUrl, testDatabase } from '../postgres/database.ts'
import { openProject, postgresConfig } from './project.ts'
import { type Bench, type Kind, openBench, kindsHere } from './stores.ts'

const kinds: readonly Kind[] = await kindsHere()

describe.each(kinds)('mersal migrate on %s', { timeout: 240_000 }, (kind) => {
  let bench: Bench
  beforeAll(async () => {
    bench = await openBench(kind, { migrated: false })
  })
  afterAll(() => bench[Symbol.asyncDispose]())

  test('says no while steps are missing, creates the tables, and then says yes', async () => {
    const { mersal } = bench.project
    expect(await mersal(['migrate', '--check'])).toMatchObject({
      code: 3,
      stdout: expect.stringContaining('no tables yet') as string,
    })
    // The check has created nothing.
    expect(await mersal(['migrate', '--check'])).toMatchObject({ code: 3 })
    expect(await mersal(['status', '--quick'])).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("run 'mersal migrate' first") as string,
    })
    expect(await mersal(['migrate'])).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('from version 0 to') as string,
    })
    const checked = await mersal(['migrate', '--check', '--json'])
    expect(checked.code).toBe(0)
    expect(JSON.parse(checked.stdout)).toMatchObject({ upToDate: true })
    expect(await mersal(['migrate'])).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('up to date') as string,
    })
  })

  test('prints SQL without connecting to anything', async () => {
    const { code, stdout } = await bench.project.mersal(['migrate', '--print'])
    expect(code).toBe(0)
    expect(stdout.toLowerCase()).toContain('create table')
    expect(stdout.toLowerCase()).toContain('commit;')
  })
})

describe.runIf(kinds.includes('postgres'))(
  'mersal migrate on PostgreSQL',
  { timeout: 240_000 },
  () => {
    test('prints SQL that makes the same tables', async () => {
      await using database = await testDatabase()
      await using project = openProject(postgresConfig(serverUrl, database.schema))
      const { stdout } = await project.mersal(['migrate', '--print'])
      await database.pool.query(stdout.slice(0, stdout.indexOf('-- sqlite')))
      expect((await project.mersal(['migrate', '--check'])).stdout).toContain(
        `postgres tables in schema '${database.schema}': up to date`,
      )
    })

    test('may run three times at once', async () => {
      await using database = await testDatabase()
      await using project = openProject(postgresConfig(serverUrl, database.schema))
      const runs = await Promise.all([1, 2, 3].map(() => project.mersal(['migrate'])))
      expect(runs.map(({ code }) => code)).toEqual([0, 0, 0])
    })

    test('gives roles with rights on the outbox the same rights on tables of later steps', async () => {
      await using database = await testDatabase()
      await using project = openProject(postgresConfig(serverUrl, database.schema))
      const role = `${database.schema}_app`
      const { stdout } = await project.mersal(['migrate', '--print'])
      const [before, after] = stdout
        .slice(0, stdout.indexOf('-- sqlite'))
        .split(/(?=-- What operators have paused)/)
      await database.pool.query(`create role ${role}`)
      try {
        // As an older version left it, and then somebody granted.
        await database.pool.query(`${before!}\ncommit;`)
        await database.pool.query(
          `grant select, insert, update, delete on ${database.schema}.outbox to ${role}`,
        )
        await database.pool.query(`begin;\n${after!}`)
        const granted = await database.query(
          `select has_table_privilege($1, $2, 'select') as may`,
          [role, `${database.schema}.pause`],
        )
        expect(granted).toEqual([{ may: true }])
      } finally {
        await database.pool.query(`drop owned by ${role}; drop role ${role}`)
      }
    })
  },
)
