import assert from 'node:assert/strict'
import type { ContractCase } from '../contract.ts'
import { commit, message, type OutboxHarness } from '../outbox/harness.ts'
import { partOf } from './parts.ts'

/** What a store says about its database and its tables. */
export const examineCases: readonly ContractCase<OutboxHarness>[] = [
  {
    name: 'examine: it says what it looked at and how to fix what is wrong, and changes nothing',
    async run(harness) {
      await using store = await harness.open()
      await commit(store, [message('1'), message('later', { delayMs: 600_000 })])
      const findings = await partOf(store, 'examine')()
      assert.ok(findings.length > 0)
      for (const { level, subject, text, remedy = '' } of findings) {
        assert.ok(subject !== '' && text !== '')
        assert.ok(level === 'ok' || remedy !== '', `no remedy for ${subject}`)
      }
      assert.equal((await store.admin.stats()).pending, 2)
    },
  },
  {
    name: 'examine: of a database that is in order it finds no fault',
    async run(harness) {
      await using store = await harness.open()
      const findings = await partOf(store, 'examine')()
      assert.deepEqual(
        findings.filter(({ level }) => level === 'fault'),
        [],
      )
    },
  },
  {
    name: 'schema: an open store has the newest version, and to upgrade it again changes nothing',
    async run(harness) {
      await using store = await harness.open()
      await commit(store, [message('1')])
      const schema = partOf(store, 'schema')
      const { current, newest } = await schema.version()
      assert.ok(newest > 0)
      assert.equal(current, newest)
      await schema.upgrade()
      assert.deepEqual(await schema.version(), { current, newest })
      assert.equal((await store.admin.stats()).pending, 1)
      assert.ok(schema.sql(0).length > schema.sql(newest).length)
    },
  },
]
