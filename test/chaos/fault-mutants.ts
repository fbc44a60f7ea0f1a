/**
 * Three bugs for each kind of fault that strangers have found, which a suite must notice: `node
 * test/chaos/mutants-main.ts --faults`.
 */
import type { Mutant } from './mutants.ts'

/** One change of one file, and the suite that has to fail. */
function bug(
  name: string,
  says: string,
  file: string,
  [from, to]: readonly [from: string, to: string],
  suite: string,
): Mutant {
  return { name, says, changes: [{ file, from, to }], under: { suite: `test/${suite}` } }
}

const lent = 'sql/sessions/lent/lent.ts'
const clockWatch = 'outbox/clock/clock-watch.ts'
const knex = 'contract/session-knex.test.ts'

export const faultMutants: readonly Mutant[] = [
  bug(
    'F1a',
    'a handler may end its transaction through a library',
    lent,
    [
      'if (allowed === undefined && end !== undefined)',
      "if (allowed === undefined && end === 'never')",
    ],
    knex,
  ),
  bug(
    'F1b',
    'the handle of a library works on when its unit has ended',
    lent,
    ['revoke: (passing) => void (allowed = passing),', 'revoke: () => {},'],
    knex,
  ),
  bug(
    'F1c',
    'the handle of pg works on when its unit has ended',
    'sql/postgres/unit/unit-handle.ts',
    ['this.#revoked = true', 'this.#revoked = false'],
    'user-code/stores.test.ts',
  ),
  bug(
    'F2a',
    'a transaction joins whatever unit is open in its context',
    'app/unit/transactions.ts',
    [
      'return this.#runNew(work, options)',
      'return ((unit) => unit === undefined ? this.#runNew(work, options) : this.#runJoined(unit, work, options.signal))(this.outer())',
    ],
    'unit/app/unit/joining.test.ts',
  ),
  bug(
    'F2b',
    'a transaction waits without end for what the one around it holds',
    'app/unit/joining.ts',
    ['if (outer?.open !== true) return work(() => {})', 'if (call) return work(() => {})'],
    'scenarios/foreign-contexts/transactions.test.ts',
  ),
  bug(
    'F2c',
    'nobody is told that a transaction only looks nested',
    'app/unit/transactions.ts',
    ['this.#warnedOfNesting = true', 'return'],
    'scenarios/foreign-contexts/transactions.test.ts',
  ),
  bug(
    'F3a',
    'a message needs no proof that its transaction is still open',
    'sql/postgres/unit/proof.ts',
    ['when ${only}::boolean then false', 'when ${only}::boolean then true'],
    'scenarios/forgotten-awaits.test.ts',
  ),
  bug(
    'F3b',
    'late statements reach postgres.js',
    'sql/sessions/postgres-js-hold.ts',
    ['connection.reserved !== reserved', 'connection === undefined'],
    'scenarios/units/postgres-js-late-calls.test.ts',
  ),
  bug(
    'F3c',
    'a savepoint that is rolled back leaves its messages',
    'app/unit/unit.ts',
    ['slot.dropped = true', 'slot.dropped = false'],
    'scenarios/units/savepoints.test.ts',
  ),
  bug(
    'F4a',
    'a failure of our own store is charged to the message',
    'app/receive/store-away/excuse.ts',
    ["if (fault === undefined) return 'charge'", "if (fault !== 'full') return 'charge'"],
    'unit/app/receive/store-away.test.ts',
  ),
  bug(
    'F4b',
    'a settlement that is refused counts as an outage',
    'outbox/settle/settle-fallback.ts',
    ["isMersalError(error) && error.details['refused'] === true", 'isMersalError(error) && false'],
    'unit/outbox/settle/settling-refused.test.ts',
  ),
  bug(
    'F4c',
    'a wish for later counts as a failure',
    'app/receive/retry.ts',
    ['if (wished !== undefined)', 'if (wished === Infinity)'],
    'unit/app/receive/postponed.test.ts',
  ),
  bug(
    'F5a',
    'slow destinations may take all of the window',
    'outbox/limits/shares.ts',
    ['this.#most = window - Math.floor(window / SHARE)', 'this.#most = window'],
    'unit/outbox/claim/shares.test.ts',
  ),
  bug(
    'F5d',
    'slow destinations borrow before others were looked for everywhere',
    'outbox/limits/shares.ts',
    ['limit: swept ? this.#borrowed(list, free) : 0', 'limit: this.#borrowed(list, free)'],
    'unit/outbox/claim/shares.test.ts',
  ),
  bug(
    'F5b',
    'what is in hand is not bounded in bytes',
    'outbox/claim/in-hand.ts',
    ['bytes += size', 'bytes += 0'],
    'unit/outbox/settle/slow-link.test.ts',
  ),
  bug(
    'F5c',
    'rows of any size are read',
    'stores/memory/outbox.ts',
    [
      'largestBytes = LARGEST_ROW_BYTES } = request',
      'largestBytes: _ = 0 } = request, largestBytes = Infinity',
    ],
    'contract/memory.test.ts',
  ),
  bug(
    'F6a',
    'a clock that was set back is not noticed',
    clockWatch,
    ['step < -STEADY_MS || ahead > STEADY_MS', 'step < -Infinity || ahead === Infinity'],
    'unit/outbox/clock/clock.test.ts',
  ),
  bug(
    'F6b',
    'what waits after that is put right for nobody',
    clockWatch,
    ['const changed = await storage.recover(pending)', 'const changed = 0'],
    'unit/outbox/clock/clock.test.ts',
  ),
  bug(
    'F6c',
    'a sequence behind its rows is left as it is',
    'sql/postgres/sequence.ts',
    [
      'if (state === undefined || state.last >= state.highest)',
      'if (state === undefined || state.last >= 0n)',
    ],
    'stores/postgres/tables.test.ts',
  ),
  bug(
    'F7a',
    'handlers may hold every connection of the pool',
    'app/unit/handler-capacity.ts',
    ['const LEFT = 2', 'const LEFT = 0'],
    'stores/postgres/few-connections.test.ts',
  ),
  bug(
    'F7b',
    'a pool of a class of somebody else is copied by guess',
    'sql/postgres/pool/own-pool.ts',
    ['if (!isOfPg(given))', "if (typeof given === 'number')"],
    'stores/postgres/pool-of-the-application.test.ts',
  ),
  bug(
    'F7c',
    'nobody is told that the connections are held by those who wait for one',
    'sql/postgres/unit/unit-capacity.ts',
    ['if (units === 0 || waitingCount === 0', 'if (units >= 0 || waitingCount === 0'],
    'stores/postgres/few-connections.test.ts',
  ),
  bug(
    'F8a',
    'the content type of what arrives is ignored',
    'app/contracts/serializers.ts',
    ['reads(contentType, wanted)', "wanted !== 'never'"],
    'unit/app/send/content-types.test.ts',
  ),
  bug(
    'F8b',
    'a configuration that belongs to somebody else is run',
    'cli/config/trusted-file.ts',
    ['if (!trusted.has(stats.uid))', 'if (trusted.size === 0)'],
    'cli/trusted-file.test.ts',
  ),
  bug(
    'F8c',
    'the size of a frame with properties is told too small',
    'transports/rabbitmq/publish/header-size.ts',
    ['const FIXED = 14', 'const FIXED = 0'],
    'transports/rabbitmq/small-frames.test.ts',
  ),
]
