import { expect, test } from 'vitest'
import { attempt, oneFaultEach } from '../../src/cli/doctor/one-fault.ts'

const failing = (subject: string, doing: string, cause: string) =>
  attempt(subject, () => Promise.reject(new Error(`${doing} failed`, { cause: new Error(cause) })))

test('one cause is one fault, which names what could not be examined', async () => {
  const found = [
    ...(await failing("postgres tables in schema 'mersal'", 'reading', 'wrong password')),
    ...(await failing('postgres', 'reaching', 'wrong password')),
    ...(await failing("transport 'default'", 'reaching', 'no such host')),
    { level: 'ok', subject: 'node', text: 'v24' } as const,
  ]
  expect(oneFaultEach(found, false)).toMatchObject([
    {
      subject: 'postgres',
      text: 'reaching failed: wrong password',
      remedy: expect.stringContaining("the same error: postgres tables in schema 'mersal'"),
    },
    { subject: "transport 'default'" },
    { subject: 'node' },
  ])
})

test('stores of one configuration keep a fault each', async () => {
  const found = [
    ...(await failing('a: postgres', 'reaching', 'wrong password')),
    ...(await failing('b: postgres', 'reaching', 'wrong password')),
  ]
  expect(oneFaultEach(found, true)).toHaveLength(2)
})
