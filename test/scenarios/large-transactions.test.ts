import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { serverAnswers, serverUrl } from '../postgres/database.ts'

const program = fileURLToPath(
  new URL('../../scripts/measure-large-transaction.ts', import.meta.url),
)
const MESSAGES = 300
/** What Node and the clients need, with the few statements of 32 MiB that are not collected yet. */
const BASE_MIB = 320

const present = await serverAnswers()

for (const store of ['sqlite', 'postgres'] as const) {
  test.skipIf(store === 'postgres' && !present)(
    `P9: a transaction with ${MESSAGES} messages of a megabyte on ${store} is committed, and needs little more memory than its messages`,
    async () => {
      const args = ['--stores', store, '--messages', String(MESSAGES), '--url', serverUrl]
      const { stdout } = await promisify(execFile)(process.execPath, [program, ...args])
      const { outcome, rows, peak } =
        /(?<outcome>\w+); .* s, (?<rows>\d+) rows, peak (?<peak>\d+) MiB/.exec(stdout)?.groups ?? {}
      expect([outcome, Number(rows)], stdout).toEqual(['committed', MESSAGES])
      // Each body is held until the commit; what is on its way to the server is a part of them.
      expect(Number(peak), stdout).toBeLessThan(1.2 * MESSAGES + BASE_MIB)
    },
  )
}
