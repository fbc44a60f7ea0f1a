import { churn } from './churn/section.ts'
import { claim } from './claim/section.ts'
import { drain } from './drain/section.ts'
import type { Effort } from './effort.ts'
import { latency } from './latency/section.ts'
import { queue } from './queue/section.ts'
import { receive } from './receive/section.ts'
import { relay } from './relay/section.ts'
import type { Table } from './report.ts'
import { scale } from './scale/section.ts'
import { sqlite } from './sqlite/section.ts'
import { sustained } from './sustained/section.ts'
import { write } from './write/section.ts'

/** In the order in which a whole run takes them. */
export const sections: Readonly<Record<string, (effort: Effort) => Promise<Table[]>>> = {
  write,
  claim,
  drain,
  relay,
  latency,
  sustained,
  churn,
  receive,
  queue,
  scale,
  sqlite,
}
