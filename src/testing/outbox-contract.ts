import type { ContractCase } from './contract.ts'
import { byteCases } from './outbox/byte-cases.ts'
import { cancelCases } from './outbox/cancel-cases.ts'
import { claimCases } from './outbox/claim-cases.ts'
import { historyCases } from './outbox/dead/history-cases.ts'
import { deadLetterCases } from './outbox/dead/letter-cases.ts'
import { examineCases } from './operations/examine-cases.ts'
import { expressCases } from './outbox/express-cases.ts'
import { fidelityCases } from './outbox/fidelity-cases.ts'
import { stretchCases } from './outbox/stretch-cases.ts'
import type { OutboxHarness, RetentionHarness } from './outbox/harness.ts'
import { keptCases } from './operations/kept-cases.ts'
import { overviewCases } from './operations/overview-cases.ts'
import { pauseCases } from './operations/pause-cases.ts'
import { retentionCases } from './outbox/retention-cases.ts'
import { refusedCases } from './operations/refused-cases.ts'
import { traceCases } from './operations/trace-cases.ts'
import { savepointCases } from './outbox/savepoint-cases.ts'
import { saveCases } from './outbox/save-cases.ts'
import { settleCases } from './outbox/settle-cases.ts'
import { waitingCases } from './outbox/waiting-cases.ts'

export type { OutboxHarness, OutboxParts, RetentionHarness } from './outbox/harness.ts'

/**
 * What every outbox storage must do, with its unit of work and its dead letters. No case holds a
 * transaction open while it waits for another one, so databases with one writer pass as well; time
 * passes only through the harness.
 */
export const outboxContract: readonly ContractCase<OutboxHarness>[] = [
  ...saveCases,
  ...claimCases,
  ...byteCases,
  ...stretchCases,
  ...waitingCases,
  ...cancelCases,
  ...settleCases,
  ...expressCases,
  ...deadLetterCases,
  ...historyCases,
  ...fidelityCases,
]

/**
 * What the operations of a store must do. The name of each case begins with the part that it is
 * about: `pauses`, `overview`, `kept`, `examine`, `schema`, `trace` or `refused`. A store that leaves
 * a part out leaves out its cases.
 */
export const operationsContract: readonly ContractCase<RetentionHarness>[] = [
  ...pauseCases,
  ...overviewCases,
  ...keptCases,
  ...examineCases,
  ...traceCases,
  ...refusedCases,
]

/** What a store must do that offers savepoints. */
export const savepointContract: readonly ContractCase<OutboxHarness>[] = savepointCases

/** What an outbox storage must do besides if it can keep sent rows for a while. */
export const outboxRetentionContract: readonly ContractCase<RetentionHarness>[] = retentionCases
