import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { setImmediate } from 'node:timers/promises'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { canaryPassword } from './canaries.ts'
import { takeSightings } from './outlet.ts'

const program = (text: string): readonly string[] => [
  '-e',
  `process.stdout.write(Buffer.from('${Buffer.from(text).toString('hex')}', 'hex'))`,
]

test.each([
  ['in plain', canaryPassword],
  ['in base64', Buffer.from(canaryPassword).toString('base64')],
])('a secret %s in the output of a program that a test starts is seen', async (_, text) => {
  const { stdout } = await promisify(execFile)(process.execPath, program(`before ${text} after`))
  expect(stdout).toContain(text)
  expect(takeSightings()).toEqual([expect.stringContaining(text)])
})

test('a program whose output is read later than it is watched loses nothing of it', async () => {
  const child = spawn(process.execPath, program(canaryPassword), {
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  await once(child, 'spawn')
  await setImmediate()
  const pieces: Buffer[] = await child.stdout.toArray()
  expect(Buffer.concat(pieces).toString()).toBe(canaryPassword)
  expect(takeSightings()).toHaveLength(1)
})

test('a secret that a test itself prints is seen', () => {
  // oxlint-disable-next-line no-console -- what it is about
  console.log('the password is', canaryPassword)
  expect(takeSightings()).toEqual([expect.stringContaining(canaryPassword)])
})

test('what holds no secret is left alone', async () => {
  await promisify(execFile)(process.execPath, program('a canary is a bird'))
  expect(takeSightings()).toEqual([])
})
