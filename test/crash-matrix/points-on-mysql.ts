import type { Instead } from './plan.ts'

const noNotify = 'MySQL notifies nobody: other processes look by polling'

/** Where MySQL goes another way than PostgreSQL: another last moment, or why there is none. */
export const onMysql: Readonly<Record<string, Instead | string>> = {
  F1: 'MySQL: COMMIT is sent when the rows are answered',
  N1: noNotify,
  N2: noNotify,
  N3: noNotify,
  N4: noNotify,
  // It looks and locks before it claims, and claims only what is there.
  R1: { moment: 'due:before', nth: 3 },
  R2: { moment: 'claim:sent', nth: 2 },
  // Only where messages are kept, there is a transaction around it.
  R7b: { moment: 'settle:sent', nth: 2, options: { kept: true } },
  R7c: { moment: 'settle:answered', nth: 2, options: { kept: true } },
  R8: { moment: 'settle:sent', nth: 2 },
  R9: { moment: 'settle:answered', nth: 2 },
  C5: { moment: 'save:answered', nth: 4 },
  M4: { moment: 'migrate record:sent' },
}
