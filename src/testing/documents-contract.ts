import type { ContractCase } from './contract.ts'
import { changeCases } from './documents/change-cases.ts'
import { deadLetterCases } from './documents/dead-letter-cases.ts'
import type { DocumentsHarness } from './documents/harness.ts'
import { relayCases } from './documents/relay-cases.ts'

export type { DocumentsHarness } from './documents/harness.ts'

/** What every storage of documents must do. */
export const documentsContract: readonly ContractCase<DocumentsHarness>[] = [
  ...changeCases,
  ...relayCases,
  ...deadLetterCases,
]
