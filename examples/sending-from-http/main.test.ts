import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { Listener } from '../listen.ts'
import { StudentRegistered, createRegistrarServer, openRegistrar } from './main.ts'

test('a request that registers a student publishes the event, one that is refused does not', async ({
  onTestFinished,
}) => {
  const folder = mkdtempSync(join(tmpdir(), 'mersal-example-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  await using listener = await new Listener(folder).listen(StudentRegistered.name)
  await using app = await openRegistrar(folder)
  await using server = createRegistrarServer(app)
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
  const post = async (body: string): Promise<number> => {
    const response = await fetch(url, { method: 'POST', body, headers: { connection: 'close' } })
    await response.arrayBuffer()
    return response.status
  }

  expect(await post('{"name": "Zoë"}')).toBe(201)
  expect(await post('{"name": "Zoë"}')).toBe(409)
  expect(await post('no JSON')).toBe(400)
  expect(await post('{"name": "Ngũgĩ"}')).toBe(201)

  expect(await listener.until(2)).toEqual([
    { studentId: 1, name: 'Zoë' },
    { studentId: 2, name: 'Ngũgĩ' },
  ])
})
