import { existsSync, mkdirSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { openProject, type Project, sourceUrl } from '../cli/project.ts'
import { administratorUrl, serverAnswers as mysqlAnswers } from '../mysql/server.ts'

const root = join(import.meta.dirname, '../..')
const example = (name: string): string => join(root, 'examples', name, 'mersal.prove.ts')
const broken = (name: string): string => join(import.meta.dirname, 'programs', `${name}.ts`)

interface Row {
  readonly name: string
  readonly kind?: string
  readonly findings?: readonly { readonly promise: string; readonly text: string }[]
}

/** A project whose temporary files are its own, so that what is left over is seen. */
function openPlace(): Project & { readonly left: () => readonly string[]; readonly env: object } {
  const project = openProject()
  const temporary = project.file('tmp')
  mkdirSync(temporary)
  return { ...project, env: { TMPDIR: temporary }, left: () => readdirSync(temporary) }
}

async function proven(
  file: string,
  only: string,
  env: Readonly<Record<string, string>> = {},
): Promise<{ readonly code: number | null; readonly rows: readonly Row[] }> {
  await using project = openPlace()
  const args = ['prove', file, '--json', '--only', only, '--wait', '600']
  const { code, stdout, stderr } = await project.mersal(args, { ...project.env, ...env })
  expect(project.left(), stderr).toEqual([])
  const lines = stdout.trim().split('\n')
  return { code, rows: lines.map((line) => JSON.parse(line) as Row) }
}

const mysqlIsHere = await mysqlAnswers()
const kindOf = (rows: readonly Row[], name: string): string | undefined =>
  rows.find((row) => row.name === name)?.kind

const sentence = (rows: readonly Row[], name: string): string | undefined =>
  rows.find((row) => row.name === name)?.findings?.[0]?.text

describe('mersal prove', { timeout: 900_000 }, () => {
  test('finds nothing in the web server that registers students', async () => {
    const { code, rows } = await proven(example('sending-from-http'), 'undo,P4,C4,C5')
    expect(Object.fromEntries(rows.map(({ name, kind }) => [name, kind]))).toEqual({
      clean: 'kept',
      undo: 'kept',
      P4: 'kept',
      C4: 'kept',
      C5: 'not reached',
      total: undefined,
    })
    expect(code).toBe(0)
  })

  test('finds nothing in the checkout that clients repeat', async () => {
    const { code, rows } = await proven(example('idempotent-checkout'), 'fail,twice,P5')
    expect(rows.map(({ kind }) => kind)).toEqual(['kept', 'kept', 'kept', 'kept', undefined])
    expect(code).toBe(0)
  })

  test.skipIf(!mysqlIsHere)('finds nothing in the registrar on MariaDB', async () => {
    const { code, rows } = await proven(example('outbox-on-mysql'), 'P4', {
      MERSAL_PROVE_DATABASE_URL: administratorUrl,
    })
    expect([kindOf(rows, 'clean'), kindOf(rows, 'P4')]).toEqual(['kept', 'kept'])
    expect(code).toBe(0)
  })

  test('catches a row that is committed before its message is sent', async () => {
    const { code, rows } = await proven(broken('write-then-publish'), 'undo,P4')
    expect(sentence(rows, 'undo')).toBe(
      'actions 3, 6, 9, 12 threw in the transaction, and the rows are there all the same',
    )
    expect(sentence(rows, 'P4')).toMatch(/^actions? .* left rows, and no message came$/)
    expect([kindOf(rows, 'clean'), code]).toEqual(['kept', 1])
  })

  test('catches a COMMIT of its own', async () => {
    const { code, rows } = await proven(broken('own-commit'), 'undo')
    expect(sentence(rows, 'clean')).toMatch(
      /failed: .*this transaction belongs to a unit of Mersal.*MERSAL_TRANSACTION_IS_OURS/,
    )
    expect([kindOf(rows, 'clean'), code]).toEqual(['broken', 1])
  })

  test('catches an effect outside of the transaction', async () => {
    const { code, rows } = await proven(broken('effect-outside'), 'C4')
    expect(sentence(rows, 'C4')).toMatch(/took effect more than once$/)
    expect([kindOf(rows, 'clean'), code]).toEqual(['kept', 1])
  })

  test('says how a table is read, and what to do about what is broken', async () => {
    await using project = openPlace()
    const args = ['prove', broken('own-commit'), '--wait', '600']
    const { stdout } = await project.mersal(args, { ...project.env })
    expect(stdout).toMatch(/^clean +BROKEN +kept +kept +- +\d+\.\d +nothing goes wrong$/m)
    expect(stdout).toContain('together: a row and its message exist both, or neither')
    expect(stdout).toContain("clean breaks 'together': actions 1, 2, 3, 4, 5, … failed")
    expect(stdout).toContain('0 kept, 1 broken, 0 not reached')
  })
})

const opening = (path: string): string => `
import { Mersal } from '${sourceUrl('index.ts')}'
import { sqlite, sqliteQueue } from '${sourceUrl('sqlite.ts')}'
export default {
  async open({ folder }) {
    const app = new Mersal({
      name: 'shop',
      store: sqlite({ path: ${path} }),
      transport: sqliteQueue({ path: folder + '/queue.db' }),
    })
    await app.start()
    return app
  },
  act: () => undefined,
  rows: 'SELECT 1',
  effects: 'SELECT 1',
}`

describe('mersal prove refuses', { timeout: 900_000 }, () => {
  test('a program that opens another database than that of its place', async () => {
    await using project = openPlace()
    const elsewhere = project.file('production.db')
    project.write('mersal.prove.ts', opening(JSON.stringify(elsewhere)))
    const { code, stdout } = await project.mersal(['prove'], { ...project.env })
    expect(stdout).toContain(
      `the database ${elsewhere} was about to be opened, which is not the place of this proof`,
    )
    expect([code, existsSync(`${elsewhere}-wal`)]).toEqual([1, false])
  })

  test('a file that is no proof, and says which field is wrong', async () => {
    await using project = openPlace()
    project.write('mersal.prove.ts', `export default { open: 1 }`)
    const { code, stdout } = await project.mersal(['prove'], { ...project.env })
    expect(stdout).toContain('clean failed: proof.open: expected a function')
    expect(code).toBe(1)
  })

  test('a row that does not exist, and no file at all', async () => {
    await using project = openPlace()
    const none = await project.mersal(['prove'])
    expect([none.code, none.stderr]).toEqual([
      1,
      expect.stringContaining('there is no mersal.prove.ts'),
    ])
    project.write('mersal.prove.ts', 'export default {}')
    const { code, stderr } = await project.mersal(['prove', '--only', 'P99'])
    expect([code, stderr]).toEqual([2, expect.stringContaining("--only: there is no 'P99'")])
  })
})
