import type { Instead, RelayKind } from './plan.ts'

/** Another last moment, or why there is none; perhaps only where the program relays. */
type Other = Instead | string | { readonly relay: Instead | string }
type Others = Readonly<Record<string, Other>>

const noNotify = 'MySQL notifies nobody: other processes look by polling'

/** Where MySQL goes another way than PostgreSQL. */
const onMysql: Others = {
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

/** Where a broker goes another way than RabbitMQ. */
const onBroker: Readonly<Record<NonNullable<RelayKind['broker']>, Others>> = {
  nats: { R12b: 'on NATS a publisher declares nothing' },
  redis: {
    // What is claimed together travels as one script.
    R4: { relay: 'on Redis a relay writes all that it has in hand in one piece' },
    L1: { moment: 'publish all:written' },
    L2: { moment: 'publish all:written' },
    S1: { moment: 'stop asked', first: { moment: 'publish all:written', do: 'term' } },
    R12b: 'on Redis a publisher declares nothing',
    // One script puts dead letters back and takes them out of their stream, or removes them all.
    D1b: { moment: 'move(back):written' },
  },
  kafka: {
    R12b: 'on Kafka a publisher declares nothing',
    C8: 'the client of Kafka sends a commit at once',
  },
}

/** Where a relay that reads the log goes another way than one that claims. */
const onLog: ReadonlySet<string> = new Set(
  'P4 P5 P5b P6 F1 R3 R4 R5 R6 R7 R7b R7c R8 R9 B1 R12 R13 R14 S1 S2 T1 T2 T3 T4 T5 T6 T7 T8'.split(
    ' ',
  ),
)

/** Whether it is tried on this road at all. */
export const isTried = (point: string, { log }: Pick<RelayKind, 'log'>): boolean =>
  log !== true || onLog.has(point)

const onRoad = (other: Other | undefined, road: RelayKind['road']): Instead | string | undefined =>
  typeof other !== 'object' || !('relay' in other)
    ? other
    : road === 'relay'
      ? other.relay
      : undefined

/** What is different on the database and the broker of this road. */
export function elsewhere(
  point: string,
  { database, broker, road }: Pick<RelayKind, 'database' | 'broker' | 'road'>,
): Instead | string | undefined {
  const own = broker === undefined ? undefined : onRoad(onBroker[broker][point], road)
  return own ?? (database === 'mysql' ? onRoad(onMysql[point], road) : undefined)
}

/** Why the point is missing on some databases or brokers. */
export const absentElsewhere = (point: string): readonly string[] => [
  ...[onMysql, ...Object.values(onBroker)]
    .map((others) => onRoad(others[point], 'relay'))
    .filter((text) => typeof text === 'string'),
  ...(onLog.has(point) ? [] : ['here a relay that reads the log is like any other']),
]
