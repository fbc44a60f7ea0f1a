import type { ContractCase } from './contract.ts'
import { byteCases } from './outbox/byte-cases.ts'
import { claimCases } from './outbox/claim-cases.ts'
import { deadLetterCases } from './outbox/dead-letter-cases.ts'
import { expressCases } from './outbox/express-cases.ts'
import { fidelityCases } from './outbox/fidelity-cases.ts'
import { stretchCases } from './outbox/stretch-cases.ts'
import type { OutboxHarness, RetentionHarness } from './outbox/harness.ts'
import { retentionCases } from './outbox/retention-cases.ts'
import { saveCases } from './outbox/save-cases.ts'
import { settleCases } from './outbox/settle-cases.ts'

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
  ...settleCases,
  ...expressCases,
  ...deadLetterCases,
  ...fidelityCases,
]

/** What an outbox storage must do besides if it can keep sent rows for a while. */
export const outboxRetentionContract: readonly ContractCase<RetentionHarness>[] = retentionCases
