import type { ContractCase } from './contract.ts'
import { consumeCases } from './transport/consume-cases.ts'
import { deadLetterCases } from './transport/dead-letter-cases.ts'
import type { TransportHarness } from './transport/harness.ts'
import { orderCases } from './transport/order-cases.ts'
import { operationsCases } from './transport/operations-cases.ts'
import { publishCases } from './transport/publish-cases.ts'
import { replyCases } from './transport/reply-cases.ts'
import { topicCases } from './transport/topic-cases.ts'
import { wishCases } from './transport/wish-cases.ts'

export type { TransportHarness } from './transport/harness.ts'

/**
 * What every transport must do. Where a feature is declared, its case tests it; where it is not,
 * the opposite.
 */
export const transportContract: readonly ContractCase<TransportHarness>[] = [
  ...publishCases,
  ...topicCases,
  ...consumeCases,
  ...deadLetterCases,
  ...wishCases,
  ...orderCases,
  ...operationsCases,
  ...replyCases,
]
