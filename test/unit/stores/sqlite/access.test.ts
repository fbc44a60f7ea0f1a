import { fork } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { MersalError } from '../../../../src/index.ts'
import { sqlite, sqliteQueue } from '../../../../src/sqlite.ts'
import type { Attempt, Part } from './stranger.ts'

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

/** One program for all attempts: to load the sources takes longer than everything else here. */
const program = fork(join(import.meta.dirname, 'stranger.ts'), {
  cwd: '/',
  execArgv: ['--no-warnings'],
  ...(stranger === undefined ? {} : { uid: stranger, gid: stranger }),
})
afterAll(() => void program.kill('SIGKILL'))
const answer = async (): Promise<string> => {
  const [text] = (await Promise.race([
    once(program, 'message'),
    once(program, 'exit').then(([code]) => [`the program has ended with ${String(code)}`]),
  ])) as [string]
  return text
}
const ready = answer()

/** What the attempt throws, as a user without the rights of root. */
async function refusal(part: Part, path: string): Promise<string> {
  expect(await ready).toBe('ready')
  const said = answer()
  program.send({ part, path } satisfies Attempt)
  return said
}

const parts = ['store', 'queue', 'migrate'] as const

describe.each(parts)(
  'opening SQLite (%s) names the file or folder and the right that is missing',
  { timeout: 60_000 },
  (part) => {
    test('when the file may not be written', async () => {
      const path = join(folder(), 'app.db')
      writeFileSync(path, '', { mode: 0o444 })
      expect(await refusal(part, path)).toMatch(
        /^MERSAL_STORE_FAILED .*may not write the file '.*app\.db'; grant it write$/,
      )
    })

    test('when the file may not be read', async () => {
      const path = join(folder(), 'app.db')
      writeFileSync(path, '')
      chmodSync(path, 0)
      expect(await refusal(part, path)).toMatch(
        /^MERSAL_STORE_FAILED .*may not read the file '.*app\.db'; grant it read and write$/,
      )
    })

    test('when the folder may not be written, whether the file is there or not', async () => {
      const path = join(folder(), 'app.db')
      chmodSync(join(path, '..'), 0o555)
      const missing = new RegExp(
        `^MERSAL_STORE_FAILED .*may not make files in the folder '${join(path, '..')}'`,
      )
      expect(await refusal(part, path)).toMatch(missing)
      writeFileSync(path, '', { mode: 0o666 })
      chmodSync(path, 0o666)
      expect(await refusal(part, path)).toMatch(missing)
    })

    test('when the folder is not there, or is a file', async () => {
      const here = folder()
      expect(await refusal(part, join(here, 'data', 'app.db'))).toContain(
        `the folder '${join(here, 'data')}' does not exist; make it`,
      )
      writeFileSync(join(here, 'file'), '')
      expect(await refusal(part, join(here, 'file', 'app.db'))).toContain(
        `'${join(here, 'file')}' is no folder`,
      )
      expect(await refusal(part, here)).toContain(`'${here}' is a folder; name a file in it`)
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
