import { afterAll, beforeAll, expect, test } from 'vitest'
import type { PrivateCluster } from '../postgres/cluster.ts'
import { storeContract } from '../postgres/contract-suite.ts'
import { testDatabase } from '../postgres/database.ts'
import { EMBEDDED_VERSION, embeddedAvailable, embeddedCluster } from '../postgres/embedded.ts'
import { queueContract } from '../postgres/queue-contract.ts'

const present = embeddedAvailable()
let cluster: PrivateCluster | undefined

const url = (): string => {
  if (cluster === undefined) throw new Error('the embedded server did not start')
  return cluster.url
}

beforeAll(async () => {
  if (present) cluster = await embeddedCluster()
})

afterAll(async () => {
  await cluster?.[Symbol.asyncDispose]()
})

test.skipIf(!present)(
  'the embedded server is the PostgreSQL that these tests are about',
  async () => {
    await using database = await testDatabase(url())
    const [row] = await database.query(`select current_setting('server_version_num') as number`)
    expect(Math.floor(Number(row?.['number']) / 10_000)).toBe(EMBEDDED_VERSION)
  },
)

storeContract(`postgres store on PostgreSQL ${EMBEDDED_VERSION}`, { present, url })
queueContract(`PostgreSQL queue on PostgreSQL ${EMBEDDED_VERSION}`, { present, url })
