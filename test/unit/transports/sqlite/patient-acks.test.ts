import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { Connection } from '../../../../src/sql/sqlite/connection/connection.ts'
import { connectionSettings } from '../../../../src/sql/sqlite/options.ts'
import { queueTables } from '../../../../src/transports/sqlite/statements.ts'

let folder = ''
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'mersal-patient-'))
})
afterEach(() => rmSync(folder, { recursive: true }))

const path = (name: string): string => join(folder, name)

function connection(): Connection {
  return new Connection(
    'test',
    connectionSettings('test', { path: path('queue.db') }, []),
    queueTables,
  )
}

/** The order in which jobs ran and were committed. */
function jobs(to: Connection) {
  const order: string[] = []
  const write = (name: string, patient: boolean): Promise<number> =>
    to.write(() => order.push(name), { patient, committed: () => order.push(`${name} committed`) })
  return { order, write }
}

test('a patient job shares the commit of the next one that is not', async () => {
  const file = connection()
  await file.open()
  const { order, write } = jobs(file)
  const patient = write('ack', true)
  await new Promise(setImmediate)
  expect(order).toEqual([])
  await Promise.all([patient, write('message', false)])
  expect(order).toEqual(['ack', 'message', 'ack committed', 'message committed'])
  await file.close()
})

test('a patient job that nobody joins is committed soon', async () => {
  const file = connection()
  await file.open()
  const { order, write } = jobs(file)
  await write('ack', true)
  expect(order).toEqual(['ack', 'ack committed'])
  await file.close()
})

test('a connection that closes commits what was patient', async () => {
  const file = connection()
  await file.open()
  const { order, write } = jobs(file)
  const patient = write('ack', true)
  await new Promise(setImmediate)
  await file.close()
  expect(order).toEqual(['ack', 'ack committed'])
  await patient
})
