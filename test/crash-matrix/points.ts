/**
 * The points of the matrix: where a process is killed, and why a point of the well-known list has
 * no place here.
 */
import type { Bug, CellOptions, Instead, RelayKind, Role, Step } from './plan.ts'
import { absentElsewhere, elsewhere, isTried } from './points-elsewhere.ts'

type Road = RelayKind['road']

export interface Trap {
  readonly victim: Role
  /** What has to come, one after the other; the last one kills. */
  readonly steps: readonly Step[]
  /** A second death, of the process that came after the first one. */
  readonly again?: readonly Step[]
  readonly options?: CellOptions
  /**
   * What an operator does after everything has been drained. `put right`: then what was refused can
   * be handled.
   */
  readonly operator?: { readonly command: readonly string[]; readonly of: 'outbox' | 'queue' }
}

export interface CrashPoint {
  readonly name: string
  /** One of the 37 of the list; else a place that only this protocol has. */
  readonly listed: boolean
  readonly meaning: string
  /** Undefined where the point does not exist on this road, for the reason of `absent`. */
  readonly trap: (kind: RelayKind) => Trap | undefined
  /** Why it is missing on some roads. */
  readonly absent: readonly string[]
}

type Roads = Partial<Record<Road, Trap>>

/** The process that publishes what is in the outbox. */
const publisher = ({ road }: RelayKind): Role => (road === 'relay' ? 'relay' : 'writer')
const brokerRoads: readonly Road[] = ['express', 'relay']

function point(
  name: string,
  meaning: string,
  trap: CrashPoint['trap'],
  absent?: string,
): CrashPoint {
  const listed = /^[PRCMDS]\d+$/.test(name) && name !== 'M4'
  return {
    name,
    listed,
    meaning,
    trap(kind) {
      const found = isTried(name, kind) ? trap(kind) : undefined
      const other = elsewhere(name, kind)
      if (found === undefined) return undefined
      if (other === undefined) return kind.log === true ? onlyLogged(found) : found
      return typeof other === 'string' ? undefined : insteadOf(found, other)
    },
    absent: [...(absent === undefined ? [] : [absent]), ...absentElsewhere(name)],
  }
}

/** The same death at the last moment, which has another name. */
function insteadOf(trap: Trap, { options, first, ...last }: Instead): Trap {
  const before = first === undefined ? trap.steps.slice(0, -1) : [first]
  return {
    ...trap,
    steps: [...before, { nth: 1, ...last }],
    options: { ...trap.options, ...options },
  }
}

/** Moments of which it is known whether they are about a message that the log told of. */
const ofMessages = /^(?:publish|confirm|settle|release|commit\(settle\))/

/** What the reader of the log does with messages that it has claimed is no news. */
const onlyLogged = (trap: Trap): Trap =>
  trap.victim === 'relay'
    ? {
        ...trap,
        steps: trap.steps.map((step) =>
          ofMessages.test(step.moment) ? { ...step, logged: true } : step,
        ),
      }
    : trap

/** Where somebody reads the log. */
const reading =
  (steps: readonly Step[], options?: CellOptions) =>
  ({ log }: RelayKind): Trap | undefined =>
    log === true
      ? { victim: 'relay', steps, ...(options === undefined ? {} : { options }) }
      : undefined

const one = (victim: Role, moment: string, nth = 1): Trap => ({ victim, steps: [{ moment, nth }] })
const everywhere =
  (victim: Role, moment: string, nth = 1) =>
  (): Trap =>
    one(victim, moment, nth)
const onRoads =
  (roads: Roads) =>
  ({ road }: RelayKind): Trap | undefined =>
    roads[road]
/** On the way from the outbox to the broker. */
const published =
  (moment: string, nth = 1, roads: readonly Road[] = brokerRoads) =>
  (kind: RelayKind): Trap | undefined =>
    roads.includes(kind.road)
      ? { ...one(publisher(kind), moment, nth), options: { oneRelay: true } }
      : undefined

const noOutbox = 'straight: the message is in its queue with the commit, and no relay moves it'
const noBroker = 'straight: there is no broker besides the database'
const noLog = 'nobody reads the log of the database here'
const queueOnly =
  'RabbitMQ keeps what a consumer holds; only the PostgreSQL queue has holds that end'

const producer: readonly CrashPoint[] = [
  point(
    'P1',
    'the writer is about to begin its transaction',
    everywhere('writer', 'begin:before', 5),
  ),
  point(
    'P2',
    'BEGIN has been answered, what travels with it has not',
    everywhere('writer', 'begin:answered', 4),
  ),
  point(
    'P3',
    'business rows are written, outbox rows are not',
    everywhere('writer', 'save:before', 6),
  ),
  point(
    'P4',
    'everything is written, COMMIT is not sent',
    everywhere('writer', 'commit(save):before', 5),
  ),
  point('P5', 'COMMIT is sent, not answered', everywhere('writer', 'commit(save):sent', 4)),
  point(
    'P5b',
    'COMMIT has been executed, nobody has been told',
    everywhere('writer', 'commit(save):answered', 6),
  ),
  point(
    'P6',
    'the store knows of the commit; express lane and wakers do not',
    everywhere('writer', 'given back(save)', 5),
  ),
  point(
    'F1',
    'rows and COMMIT in one flight: the rows are answered, COMMIT is not',
    ({ road }) => (road === 'straight' ? undefined : one('writer', 'save in flight:answered', 3)),
    'straight: the queue is written before the COMMIT is sent',
  ),
  point(
    'W1',
    '`within(tx)`: the messages are written, the COMMIT of the owner is not sent',
    everywhere('writer', 'commit(host):before', 2),
  ),
  point(
    'W2',
    '`within(tx)`: the COMMIT of the owner is sent, not answered',
    everywhere('writer', 'commit(host):sent', 2),
  ),
  point(
    'W3',
    '`within(tx)`: the owner has committed, no hint has been sent',
    everywhere('writer', 'given back(host)', 2),
  ),
  point('N1', 'NOTIFY is about to be sent', everywhere('writer', 'notify:before', 2)),
  point('N2', 'NOTIFY is sent, not answered', everywhere('writer', 'notify:sent', 2)),
]

const relayPoints: readonly CrashPoint[] = [
  point('R1', 'the relay is awake and about to claim', published('claim:before', 3), noOutbox),
  point(
    'R1b',
    'rows are locked, the statement that claims them is not sent',
    (kind) => (kind.database === 'mysql' ? published('due:answered', 2)(kind) : undefined),
    'PostgreSQL locks and claims in one statement',
  ),
  point('R2', 'the claim is sent, not answered', published('claim:sent', 3), noOutbox),
  point(
    'R2b',
    'rows are claimed, the COMMIT of the claim is not sent',
    published('claim:answered'),
    noOutbox,
  ),
  point(
    'R2c',
    'the COMMIT of the claim is sent, not answered',
    published('commit(claim):sent'),
    noOutbox,
  ),
  point(
    'R2d',
    'the COMMIT of the claim has been executed, the relay has not been told',
    published('commit(claim):answered'),
    noOutbox,
  ),
  point(
    'R3',
    'rows are claimed or born claimed, nothing is published',
    published('publish:before', 2),
    noOutbox,
  ),
  point(
    'R4',
    'some of the rows in hand are with the broker, the rest is not',
    published('publish next:before', 2),
    noOutbox,
  ),
  point(
    'R5',
    'all rows in hand are with the broker, no confirm has been heard',
    published('publish all:written'),
    noOutbox,
  ),
  point(
    'R6',
    'some confirms have been heard, others have not',
    published('confirm some'),
    noOutbox,
  ),
  point(
    'R7',
    'confirms have been heard, settle is not sent',
    published('settle:before', 2),
    noOutbox,
  ),
  point('R7b', 'settle is sent, not answered', published('settle:sent', 2), noOutbox),
  point(
    'R7c',
    'settle is answered, its COMMIT is not sent',
    published('settle:answered', 2),
    noOutbox,
  ),
  point(
    'R8',
    'the COMMIT of settle is sent, not answered',
    published('commit(settle):sent', 2),
    noOutbox,
  ),
  point(
    'R9',
    'settled, the relay has not been told',
    published('commit(settle):answered', 2),
    noOutbox,
  ),
  point(
    'R9b',
    'settle keeps messages in a transaction: its COMMIT is sent, not answered',
    (kind) =>
      kind.database === 'mysql'
        ? {
            ...one(publisher(kind), 'commit(settle):sent', 2),
            options: { kept: true, oneRelay: true },
          }
        : undefined,
    'on PostgreSQL that is R8',
  ),
  point(
    'B1',
    'settle of several rows is sent, not answered',
    published('settle many:sent'),
    noOutbox,
  ),
  point(
    'R10',
    'kept messages whose time is over are being removed',
    (kind) =>
      kind.road === 'straight'
        ? undefined
        : { ...one(publisher(kind), 'prune:answered'), options: { kept: true, oneRelay: true } },
    noOutbox,
  ),
  point(
    'R11',
    'the hold on messages is being renewed',
    onRoads({ straight: { ...one('finance', 'renew:sent'), options: { slowHandlers: true } } }),
    `the relay renews no claim: it is long enough, or lost. ${queueOnly}`,
  ),
  point(
    'R12',
    'after a lost connection to the broker, a new one is being opened',
    (kind) =>
      kind.road === 'straight'
        ? undefined
        : {
            victim: publisher(kind),
            steps: [{ moment: 'publish all:written', do: 'reset' }, { moment: 'connect' }],
            options: { oneRelay: true },
          },
    noBroker,
  ),
  point('R12b', 'the exchange is being declared', published('declare:written'), noBroker),
  point(
    'R13',
    'the row is settled, the position in the log is not',
    reading([{ moment: 'commit(settle):answered', nth: 2 }, { moment: 'log position:before' }]),
    noLog,
  ),
  point(
    'R14',
    'in the middle of a transaction that is streamed',
    reading([{ moment: 'log row', nth: 3 }]),
    noLog,
  ),
  point(
    'N3',
    'a notification has been heard, nothing has been claimed',
    published('notification', 2, ['relay']),
    'the express lane needs no notification; consumers of the queue: Q0',
  ),
  point('N4', 'LISTEN is sent, not answered', (kind) =>
    one(kind.road === 'straight' ? 'finance' : publisher(kind), 'listen:sent'),
  ),
  point(
    'X1',
    'the move to the dead letters is sent, not answered',
    published('dead:sent', 1, ['express', 'relay', 'straight']),
  ),
  point(
    'X2',
    'moved to the dead letters, COMMIT is not sent',
    published('dead:answered', 1, ['express', 'relay', 'straight']),
  ),
  point(
    'X3',
    'the COMMIT of the move to the dead letters is sent, not answered',
    published('commit(dead):sent', 1, ['express', 'relay', 'straight']),
  ),
  point(
    'L1',
    'slow mode after a first death: the whole claim is being given back',
    onRoads({
      relay: {
        victim: 'relay',
        steps: [{ moment: 'publish next:before' }],
        again: [{ moment: 'release:sent' }],
        options: { maxAttempts: 1 },
      },
    }),
    'a relay that runs beside the express lane is the same code',
  ),
  point(
    'L2',
    'slow mode after a first death: a suspect has been written alone',
    onRoads({
      relay: {
        victim: 'relay',
        steps: [{ moment: 'publish next:before' }],
        again: [{ moment: 'commit(release):answered' }, { moment: 'publish all:written' }],
        options: { maxAttempts: 1 },
      },
    }),
    'a relay that runs beside the express lane is the same code',
  ),
]

/** On the way through the log. */
const logPoints: readonly CrashPoint[] = [
  point(
    'T1',
    'a transaction has been read from the log, nothing of it is in hand',
    reading([{ moment: 'log commit:before', nth: 3 }]),
    noLog,
  ),
  point(
    'T2',
    'what came from the log cannot go: giving it back is sent, not answered',
    reading([{ moment: 'release:sent' }]),
    noLog,
  ),
  point(
    'T3',
    'the position in the log is sent, after rows were settled',
    reading([{ moment: 'settle:sent', nth: 2 }, { moment: 'log position:written' }]),
    noLog,
  ),
  point(
    'T4',
    'the connection that reads the log is lost, a new slot has been asked for',
    reading([{ moment: 'log row', nth: 2, do: 'cut' }, { moment: 'slot:sent' }]),
    noLog,
  ),
  point(
    'T5',
    'after a lost connection there is a new slot, nothing has been read from it',
    reading([{ moment: 'log row', nth: 2, do: 'cut' }, { moment: 'slot:answered' }]),
    noLog,
  ),
  point(
    'T6',
    'rows from the log are with the broker, no confirm has been heard; another relay takes over',
    reading([{ moment: 'publish all:written', nth: 2 }], { second: 'waits' }),
    noLog,
  ),
  point(
    'T7',
    'the relay waits for its turn, another one reads the log',
    reading([{ moment: 'slot:refused', nth: 2 }], { second: 'reads' }),
    noLog,
  ),
  point(
    'T8',
    'the relay has taken over after a first death of the reader, nothing has been read',
    ({ log }) =>
      log === true
        ? {
            victim: 'relay',
            steps: [{ moment: 'publish next:before' }],
            again: [{ moment: 'slot:answered' }],
          }
        : undefined,
    noLog,
  ),
]

const consumer: readonly CrashPoint[] = [
  point('C1', 'a message has been received', ({ road }) =>
    one('finance', road === 'straight' ? 'commit(take):answered' : 'deliver', 3),
  ),
  point(
    'C2',
    'BEGIN of the handler has been answered, what travels with it has not',
    everywhere('finance', 'begin:answered', 4),
  ),
  point('C3', 'the inbox row is written', everywhere('finance', 'track:answered', 5)),
  point('C4', 'in the middle of the handler', everywhere('finance', 'handler', 6)),
  point('C5', 'the outgoing rows of the handler are written', ({ road }) =>
    one('finance', road === 'straight' ? 'save:answered' : 'save in flight:answered', 4),
  ),
  point(
    'C6',
    'the COMMIT of the handler is sent, not answered',
    everywhere('finance', 'commit(track):sent', 5),
  ),
  point(
    'C6b',
    'the COMMIT of the handler has been executed, nobody has been told',
    everywhere('finance', 'commit(track):answered', 4),
  ),
  point('C7', 'the handler has committed, its message is not acknowledged', ({ road }) =>
    one('finance', road === 'straight' ? 'queue ack:before' : 'ack:before', 3),
  ),
  point('C8', 'the acknowledgement is in the hands of the client, not sent', ({ road }) =>
    one('finance', road === 'straight' ? 'queue ack:answered' : 'ack:buffered', 4),
  ),
  point('C8b', 'the acknowledgement is sent, not answered', ({ road }) =>
    one('finance', road === 'straight' ? 'commit(queue ack):sent' : 'ack:written', 4),
  ),
  point('C9', 'the copy for the retry is confirmed, the original is not acknowledged', ({ road }) =>
    one('finance', road === 'straight' ? 'commit(queue retry):sent' : 'ack(retry):before'),
  ),
  point('C9b', 'the copy for the retry is written, not confirmed', ({ road }) =>
    one('finance', road === 'straight' ? 'queue retry:answered' : 'move(retry):written'),
  ),
  point('C10', 'the dead letter is written, the original is not acknowledged', ({ road }) =>
    one('finance', road === 'straight' ? 'queue reject:answered' : 'ack(dead):before'),
  ),
  point('C10b', 'the dead letter is written, not confirmed', ({ road }) =>
    one('finance', road === 'straight' ? 'commit(queue reject):sent' : 'move(dead):written'),
  ),
  point(
    'J1',
    'inbox rows whose time is over are being removed',
    everywhere('finance', 'prune inbox:sent'),
  ),
  point(
    'J2',
    'inbox rows are removed, COMMIT is not sent',
    everywhere('finance', 'prune inbox:answered'),
  ),
  point(
    'Q0',
    'the consumer of the queue has heard a notification',
    onRoads({ straight: one('finance', 'notification', 2) }),
    queueOnly,
  ),
  point(
    'Q1',
    'the consumer of the queue takes messages: sent, not answered',
    onRoads({ straight: one('finance', 'take:sent', 4) }),
    queueOnly,
  ),
  point(
    'Q2',
    'messages are taken, COMMIT is not sent',
    onRoads({ straight: one('finance', 'take:answered', 2) }),
    queueOnly,
  ),
  point(
    'Q3',
    'the COMMIT of the take is sent, not answered',
    onRoads({ straight: one('finance', 'commit(take):sent', 2) }),
    queueOnly,
  ),
]

const retryAll = ['dead', 'retry', '--all', '--yes']
const operators: readonly CrashPoint[] = [
  point('M1', 'before a step of a migration', everywhere('migrator', 'migrate:before')),
  point(
    'M2',
    'a step of a migration is sent, not answered',
    everywhere('migrator', 'migrate:sent'),
  ),
  point(
    'M3',
    'a step of a migration is done, COMMIT is not sent (MySQL: its other statements are not)',
    everywhere('migrator', 'migrate:answered'),
  ),
  point(
    'M4',
    'the COMMIT of the migration (MySQL: its record) is sent, not answered',
    everywhere('migrator', 'commit(migrate):sent'),
  ),
  point('D1', 'replay: dead letters of the outbox are put back, COMMIT is not sent', () => ({
    ...one('operator', 'dead retry:answered'),
    operator: { command: retryAll, of: 'outbox' },
  })),
  point(
    'D1b',
    'replay: dead letters of the consumer are back in the queue, the originals are not acknowledged',
    ({ road }) => ({
      ...one('operator', road === 'straight' ? 'commit(dead retry):sent' : 'ack:before'),
      operator: { command: retryAll, of: 'queue' },
    }),
  ),
  point('D2', 'purge of the dead letters of the consumer half done', ({ road }) => ({
    ...one('operator', road === 'straight' ? 'dead discard:answered' : 'ack:written'),
    operator: { command: ['dead', 'discard', '--all', '--yes'], of: 'queue' },
  })),
  point(
    'S1',
    'stop asked with half a batch written, killed before settle',
    (kind) =>
      kind.road === 'straight'
        ? undefined
        : {
            victim: publisher(kind),
            steps: [{ moment: 'publish next:before', do: 'term' }, { moment: 'stop asked' }],
          },
    noOutbox,
  ),
  point(
    'S2',
    'stop asked while the connection to the broker is down',
    (kind) =>
      kind.road === 'straight'
        ? undefined
        : {
            victim: publisher(kind),
            steps: [
              { moment: 'publish all:written', do: 'reset' },
              { moment: 'broker lost', do: 'term' },
              { moment: 'stop asked' },
            ],
          },
    noBroker,
  ),
]

export const crashPoints: readonly CrashPoint[] = [
  ...producer,
  ...relayPoints,
  ...logPoints,
  ...consumer,
  ...operators,
]

export const relayKinds: readonly RelayKind[] = [
  { name: 'express lane', database: 'postgres', road: 'express', pipeline: false },
  { name: 'express lane, pipelined', database: 'postgres', road: 'express', pipeline: true },
  { name: 'relay program', database: 'postgres', road: 'relay', pipeline: false },
  { name: 'relay program, pipelined', database: 'postgres', road: 'relay', pipeline: true },
  {
    name: 'relay that reads the log',
    database: 'postgres',
    road: 'relay',
    pipeline: true,
    log: true,
  },
  { name: 'straight', database: 'postgres', road: 'straight', pipeline: false },
  { name: 'MariaDB, express lane', database: 'mysql', road: 'express', pipeline: false },
  { name: 'MariaDB, relay program', database: 'mysql', road: 'relay', pipeline: false },
  {
    name: 'NATS, express lane',
    database: 'postgres',
    broker: 'nats',
    road: 'express',
    pipeline: true,
  },
  {
    name: 'NATS, relay program',
    database: 'postgres',
    broker: 'nats',
    road: 'relay',
    pipeline: true,
  },
  {
    name: 'Redis, express lane',
    database: 'postgres',
    broker: 'redis',
    road: 'express',
    pipeline: true,
  },
  {
    name: 'Redis, relay program',
    database: 'postgres',
    broker: 'redis',
    road: 'relay',
    pipeline: true,
  },
  {
    name: 'Kafka, express lane',
    database: 'postgres',
    broker: 'kafka',
    road: 'express',
    pipeline: true,
  },
  {
    name: 'Kafka, relay program',
    database: 'postgres',
    broker: 'kafka',
    road: 'relay',
    pipeline: true,
  },
]

export interface Cell {
  readonly point: CrashPoint
  readonly kind: RelayKind
  readonly trap: Trap
}

/** On the way from the outbox to a handler, where it meets the broker. */
const atTheBroker: Readonly<Record<NonNullable<RelayKind['broker']>, ReadonlySet<string>>> = {
  nats: new Set('R3 R4 R5 R6 R7 R12 C1 C7 C8 C9 C10 D2 S1 S2'.split(' ')),
  redis: new Set('R5 R12 C7 C9 C10 D2'.split(' ')),
  kafka: new Set('R5 R12 C7 C9 C10 D2'.split(' ')),
}

/**
 * What CI runs of the list. With another broker than RabbitMQ that is where the broker takes part:
 * elsewhere a road on PostgreSQL is the same code with every broker.
 */
export const isListed = ({ point, kind }: Cell): boolean =>
  point.listed && (kind.broker === undefined || atTheBroker[kind.broker].has(point.name))

export interface CellRun extends Cell {
  /** Added to the number of times that the last moment has to come. */
  readonly later?: number
  readonly bug?: Bug
}

export const cells: readonly Cell[] = relayKinds.flatMap((kind) =>
  crashPoints.flatMap((point) => {
    const trap = point.trap(kind)
    return trap === undefined ? [] : [{ point, kind, trap }]
  }),
)
