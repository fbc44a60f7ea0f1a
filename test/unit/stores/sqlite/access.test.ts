import { execFileSync } from 'node:child_process'
import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterAll, describe, expect, test } from 'vitest'
import { MersalError } from '../../../../src/index.ts'
import { sqlite, sqliteQueue } from '../../../../src/sqlite.ts'
import { root } from '../../../house/sources.ts'

const top = mkdtempSync(join(tmpdir(), 'mersal-access-'))
chmodSync(top, 0o755)
afterAll(() => {
  chmodSync(join(top), 0o755)
  rmSync(top, { recursive: true })
})

/** Root may write everywhere, so there the attempt is made by another user. */
const stranger = process.getuid?.() === 0 ? 65_534 : undefined

let folders = 0
/** A folder that belongs to whoever opens the database. */
function folder(): string {
  const path = join(top, String(++folders))
  mkdirSync(path)
  if (stranger !== undefined) chownSync(path, stranger, stranger)
  return path
}

type Part = 'store' | 'queue' | 'migrate'

const attempts: Readonly<Record<Part, string>> = {
  store: 'await sqlite({ path }).open()',
  queue: `await sqliteQueue({ path }).subscribe('q', [])`,
  migrate:
    'const { schema } = sqlite({ path }).operations; await schema.version(); await schema.upgrade()',
}

/** What the attempt throws, as a user without the rights of root. */
function refusal(part: Part, path: string): string {
  const program = `
    import { sqlite, sqliteQueue } from '${pathToFileURL(join(root, 'src/sqlite.ts')).href}'
    const path = ${JSON.stringify(path)}
    try { ${attempts[part]}; console.log('it worked') } catch (error) { console.log(error.code + ' ' + error.message) }`
  return execFileSync(process.execPath, ['--no-warnings', '--input-type=module', '-e', program], {
    encoding: 'utf8',
    cwd: '/',
    ...(stranger === undefined ? {} : { uid: stranger, gid: stranger }),
  }).trim()
}

const parts = ['store', 'queue', 'migrate'] as const

describe.each(parts)(
  'opening SQLite (%s) names the file or folder and the right that is missing',
  { timeout: 240_000 },
  (part) => {
    test('when the file may not be written', () => {
      const path = join(folder(), 'app.db')
      writeFileSync(path, '', { mode: 0o444 })
      expect(refusal(part, path)).toMatch(
        /^MERSAL_STORE_FAILED .*may not write the file '.*app\.db'; grant it write$/,
      )
    })

    test('when the file may not be read', () => {
      const path = join(folder(), 'app.db')
      writeFileSync(path, '')
      chmodSync(path, 0)
      expect(refusal(part, path)).toMatch(
        /^MERSAL_STORE_FAILED .*may not read the file '.*app\.db'; grant it read and write$/,
      )
    })

    test('when the folder may not be written, whether the file is there or not', () => {
      const path = join(folder(), 'app.db')
      chmodSync(join(path, '..'), 0o555)
      const missing = new RegExp(
        `^MERSAL_STORE_FAILED .*may not make files in the folder '${join(path, '..')}'`,
      )
      expect(refusal(part, path)).toMatch(missing)
      writeFileSync(path, '', { mode: 0o666 })
      chmodSync(path, 0o666)
      expect(refusal(part, path)).toMatch(missing)
    })

    test('when the folder is not there, or is a file', () => {
      const here = folder()
      expect(refusal(part, join(here, 'data', 'app.db'))).toContain(
        `the folder '${join(here, 'data')}' does not exist; make it`,
      )
      writeFileSync(join(here, 'file'), '')
      expect(refusal(part, join(here, 'file', 'app.db'))).toContain(
        `'${join(here, 'file')}' is no folder`,
      )
      expect(refusal(part, here)).toContain(`'${here}' is a folder; name a file in it`)
    })
  },
)

test('where the rights are in order, the error stays what it was', async () => {
  const path = join(folder(), 'text.db')
  writeFileSync(path, 'this is no database, and it is longer than the header of one: '.repeat(20))
  for (const part of [sqlite({ path }).open(), sqliteQueue({ path }).subscribe('q', [])]) {
    const error: unknown = await part.catch((thrown: unknown) => thrown)
    expect(error).toBeInstanceOf(MersalError)
    expect(error).toMatchObject({ code: 'MERSAL_NOT_A_DATABASE' })
  }
})
