/** Where a process is killed, by what it was doing. */
import type { Role, Road, Step } from './plan.ts'

type Database = Road['database']
export const features = ['sagas', 'requests', 'once', 'cancel'] as const
export type Feature = (typeof features)[number]

export interface CrashPoint {
  readonly feature: Feature
  readonly name: string
  readonly meaning: string
  readonly victim: Role
  /** What has to come, one after the other; the last one kills. Undefined: not on this road. */
  readonly steps: (database: Database) => readonly Step[] | undefined
  /** Why it is missing on some roads. */
  readonly absent?: string
}

const noAnswer = 'on SQLite a statement is a call: nothing is sent and not answered'
const ofClient = 'on SQLite the commit is executed when the store knows of it'

type Moment = string | Step
const step = (moment: Moment, nth: number): Step =>
  typeof moment === 'string' ? { moment, nth } : moment

interface Told {
  readonly feature: Feature
  readonly victim: Role
}

type Place = readonly [name: string, meaning: string, moment: string, nth?: number]

/** The same moment on every road. */
const everywhere =
  ({ feature, victim }: Told) =>
  ([name, meaning, moment, nth = 2]: Place): CrashPoint => ({
    feature,
    victim,
    name,
    meaning,
    steps: () => [step(moment, nth)],
  })

/** Only where a client and a server talk. */
const onServers =
  ({ feature, victim }: Told, absent: string) =>
  ([name, meaning, moment, nth = 2]: Place): CrashPoint => ({
    feature,
    victim,
    name,
    meaning,
    steps: (database) => (database === 'sqlite' ? undefined : [step(moment, nth)]),
    absent,
  })

/** Outgoing rows: on PostgreSQL they travel with the COMMIT. */
const rows =
  ({ feature, victim }: Told) =>
  ([name, meaning, what, nth = 2]: Place): CrashPoint => ({
    feature,
    victim,
    name,
    meaning,
    steps: (database) => [
      step(
        database === 'postgres' ? `save in flight(${what}):answered` : `save(${what}):answered`,
        nth,
      ),
    ],
  })

/** One after the other, with another last one on SQLite. */
const then =
  ({ feature, victim }: Told) =>
  (name: string, meaning: string, ways: Readonly<Record<'server' | 'sqlite', readonly Moment[]>>) =>
    ({
      feature,
      victim,
      name,
      meaning,
      steps: (database) => {
        const moments = database === 'sqlite' ? ways.sqlite : ways.server
        return moments.map((moment, index) => step(moment, index === 0 ? 2 : 1))
      },
    }) satisfies CrashPoint

const ofSaga: Told = { feature: 'sagas', victim: 'clerk' }
const sagas: readonly CrashPoint[] = [
  everywhere(ofSaga)([
    'G1',
    'the key is locked and looked up, nothing is written',
    'saga load:answered',
    4,
  ]),
  everywhere(ofSaga)(['G2', 'the state of the instance is written', 'saga store:answered', 3]),
  rows(ofSaga)([
    'G3',
    'a new instance: its messages and its timeout are written, COMMIT is not executed',
    'start',
    3,
  ]),
  everywhere(ofSaga)([
    'G4',
    'a new instance: COMMIT is about to be sent',
    'commit(start):before',
    3,
  ]),
  onServers(
    ofSaga,
    noAnswer,
  )(['G5', 'a new instance: COMMIT is sent, not answered', 'commit(start):sent', 3]),
  everywhere(ofSaga)([
    'G6',
    'a new instance: COMMIT is executed, nobody has been told',
    'commit(start):answered',
    4,
  ]),
  onServers(
    ofSaga,
    ofClient,
  )([
    'G7',
    'a new instance: the store knows of the commit; the message is not acknowledged',
    'given back(start)',
    2,
  ]),
  rows(ofSaga)([
    'G8',
    'a changed instance: its messages, and a timeout that replaces another, are written',
    'part',
    3,
  ]),
  onServers(
    ofSaga,
    noAnswer,
  )(['G9', 'a changed instance: COMMIT is sent, not answered', 'commit(part):sent', 4]),
  everywhere(ofSaga)([
    'G10',
    'a changed instance: COMMIT is executed, nobody has been told',
    'commit(part):answered',
    3,
  ]),
  everywhere(ofSaga)([
    'G11',
    'completion: the row of the instance is removed, COMMIT is not sent',
    'saga end:answered',
    1,
  ]),
  onServers(
    ofSaga,
    noAnswer,
  )(['G12', 'completion: COMMIT is sent, not answered', 'commit(settled):sent', 1]),
  everywhere(ofSaga)([
    'G13',
    'completion: COMMIT is executed, nobody has been told',
    'commit(settled):answered',
    2,
  ]),
  everywhere(ofSaga)([
    'G14',
    'a timeout is handled, COMMIT is about to be sent',
    'commit(overdue):before',
    2,
  ]),
  everywhere(ofSaga)([
    'G15',
    'a timeout is handled: COMMIT is executed, its message is not acknowledged',
    'commit(overdue):answered',
    2,
  ]),
]

const ofReply: Told = { feature: 'requests', victim: 'clerk' }
const ofAsker: Told = { feature: 'requests', victim: 'shop' }
const requests: readonly CrashPoint[] = [
  rows(ofReply)([
    'A1',
    'the reply is written in the transaction of the handler, COMMIT is not executed',
    'quote',
    3,
  ]),
  onServers(
    ofReply,
    noAnswer,
  )([
    'A2',
    'the COMMIT of a handler that has replied is sent, not answered',
    'commit(quote):sent',
    3,
  ]),
  everywhere(ofReply)([
    'A3',
    'the COMMIT of a handler that has replied is executed; the reply has not left',
    'commit(quote):answered',
    3,
  ]),
  everywhere(ofReply)([
    'A10',
    'the effect of a handler that has replied is written, COMMIT is not sent',
    'quote:answered',
    3,
  ]),
  then(ofReply)('A4', 'the reply is with the broker, not confirmed', {
    server: ['reply published', 'publish all:written'],
    sqlite: ['reply published', 'commit(queue put):answered'],
  }),
  everywhere(ofReply)([
    'A5',
    'the reply is confirmed; its row is not settled',
    'reply confirmed',
    3,
  ]),
  then(ofReply)('A6', 'the reply is confirmed; an acknowledgement is about to be sent', {
    server: ['reply confirmed', 'ack:before'],
    sqlite: ['reply confirmed', 'queue ack:before'],
  }),
  everywhere(ofAsker)([
    'A7',
    'the asker has written its question down, and dies before it is with the broker',
    'request published',
    4,
  ]),
  everywhere(ofAsker)([
    'A8',
    'the broker has the question; the asker waits',
    'request confirmed',
    4,
  ]),
  then(ofAsker)('A9', 'the reply has come, and nobody has been told', {
    server: ['request confirmed', 'deliver'],
    sqlite: ['request confirmed', 'queue ack:before'],
  }),
]

const ofShop: Told = { feature: 'once', victim: 'shop' }
const once: readonly CrashPoint[] = [
  everywhere(ofShop)(['O1', 'the key of the request is claimed', 'once claim:answered', 3]),
  everywhere(ofShop)(['O2', 'the effect is written, the answer is not', 'order:answered', 4]),
  everywhere(ofShop)(['O3', 'the answer is kept, COMMIT is not sent', 'once keep:answered', 5]),
  rows(ofShop)(['O4', 'its messages are written, COMMIT is not executed', 'order', 4]),
  onServers(ofShop, noAnswer)(['O5', 'COMMIT is sent, not answered', 'commit(order):sent', 4]),
  everywhere(ofShop)([
    'O6',
    'COMMIT is executed, the HTTP answer is not sent',
    'commit(order):answered',
    5,
  ]),
  onServers(
    ofShop,
    ofClient,
  )(['O7', 'the store knows of the commit, the HTTP answer is not sent', 'given back(payment)', 2]),
  everywhere(ofShop)(['O8', 'the HTTP answer is sent', 'response(orders) sent', 4]),
]

const ofCancel: Told = { feature: 'cancel', victim: 'shop' }
const cancels: readonly CrashPoint[] = [
  everywhere(ofCancel)([
    'K1',
    'a reminder is taken back, COMMIT is not sent',
    'cancel:answered',
    2,
  ]),
  everywhere(ofCancel)([
    'K2',
    'all is written, COMMIT is about to be sent',
    'commit(cancel):before',
    2,
  ]),
  onServers(ofCancel, noAnswer)(['K3', 'COMMIT is sent, not answered', 'commit(cancel):sent', 2]),
  everywhere(ofCancel)([
    'K4',
    'COMMIT is executed, nobody has been told',
    'commit(cancel):answered',
    2,
  ]),
  everywhere(ofCancel)([
    'K5',
    'the answer that it is taken back is sent',
    'response(reminders) sent',
    2,
  ]),
]

export const crashPoints: readonly CrashPoint[] = [...sagas, ...requests, ...once, ...cancels]
