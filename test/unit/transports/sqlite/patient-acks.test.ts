import { expect, test } from 'vitest'
import { Connection } from '../../../../src/sql/sqlite/connection/connection.ts'
import { connectionSettings } from '../../../../src/sql/sqlite/options.ts'
import { queueTables } from '../../../../src/transports/sqlite/statements.ts'
import { temporaryFolder } from '../../../contract/sqlite-harness.ts'

interface Scene extends AsyncDisposable {
  readonly file: Connection
  readonly order: readonly string[]
  readonly write: (name: string, patient: boolean) => Promise<number>
}

async function scene(busyTimeoutMs = 5000): Promise<Scene> {
  const folder = temporaryFolder()
  const settings = connectionSettings('test', { path: folder.file('queue.db'), busyTimeoutMs }, [])
  const file = new Connection('test', settings, queueTables)
  await file.open()
  const order: string[] = []
  return {
    file,
    order,
    write: (name, patient) =>
      file.write(() => order.push(name), {
        patient,
        committed: () => order.push(`${name} committed`),
      }),
    async [Symbol.asyncDispose]() {
      await file.close()
      folder[Symbol.dispose]()
    },
  }
}

test('a patient job shares the commit of the next one that is not', async () => {
  await using to = await scene()
  const patient = to.write('ack', true)
  await new Promise(setImmediate)
  expect(to.order).toEqual([])
  await Promise.all([patient, to.write('message', false)])
  expect(to.order).toEqual(['ack', 'message', 'ack committed', 'message committed'])
})

test('a patient job that nobody joins is committed soon', async () => {
  await using to = await scene()
  await to.write('ack', true)
  expect(to.order).toEqual(['ack', 'ack committed'])
})

test('a connection that closes commits what was patient', async () => {
  await using to = await scene()
  const patient = to.write('ack', true)
  await new Promise(setImmediate)
  await to.file.close()
  expect(to.order).toEqual(['ack', 'ack committed'])
  await patient
})

test('a patient job is committed after one that was given up, since its unit still went on', async () => {
  await using to = await scene(0)
  await to.file.unit(async () => {
    await expect(to.write('inside', true)).rejects.toMatchObject({ code: 'MERSAL_STORE_BUSY' })
    await new Promise((resolve) => setTimeout(resolve, 20))
  })
  await to.write('ack', true)
  expect(to.order).toEqual(['ack', 'ack committed'])
})
