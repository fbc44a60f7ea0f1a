/** A promise as the model asserts it: the name of the variable that is set when it is broken. */
export type Broken = 'phantom' | 'inversion' | 'duplicate' | 'lost' | 'stuck' | 'unfenced'

/** One run of the model. */
export interface Configuration {
  readonly name: string
  /** What is particular about it, for the table. */
  readonly says: string
  /** Passed with -D; `true` means defined. */
  readonly flags: Readonly<Record<string, number | true>>
  /** Empty: every promise must hold in every state. Else one of these must be broken. */
  readonly breaks: readonly Broken[]
}

const twoMessages = { MESSAGES: 2, KEYS: 1, FAULTS: 0, DATABASE_CRASHES: 0 }
const faultFree = { COUNT: true, FAULTS: 0, DATABASE_CRASHES: 0, LOSSES: 0, UNKNOWNS: 0 } as const

/** The shipped protocol, and what is safe besides. Every state is visited. */
export const positive: readonly Configuration[] = [
  { name: 'one-key', says: '3 messages of one key, all faults', flags: { KEYS: 1 }, breaks: [] },
  {
    name: 'two-keys',
    says: '3 messages, 2 keys, no database crash',
    flags: { KEYS: 2, DATABASE_CRASHES: 0 },
    breaks: [],
  },
  {
    name: 'unkeyed',
    says: '3 messages, with and without a key, no crash',
    flags: { KEYS: 1, UNKEYED: true, FAULTS: 0, DATABASE_CRASHES: 0 },
    breaks: [],
  },
  {
    name: 'four-messages',
    says: '4 messages of one key, claims of 3 rows, no crash',
    flags: { MESSAGES: 4, KEYS: 1, BATCH: 3, FAULTS: 0, DATABASE_CRASHES: 0 },
    breaks: [],
  },
  {
    name: 'three-batches',
    says: '2 messages, 3 batches in hand, all faults',
    flags: { MESSAGES: 2, KEYS: 1, RELAYS: 3, FAULTS: 2 },
    breaks: [],
  },
  {
    name: 'dead-letters',
    says: 'dead letters that hold back their key; claims of 1 row',
    flags: { KEYS: 2, DEAD: true, BATCH: 1, FAULTS: 0, DATABASE_CRASHES: 0 },
    breaks: [],
  },
  {
    name: 'settle-relaxed',
    says: 'settled with synchronous_commit = off',
    flags: { MESSAGES: 2, KEYS: 2, FAULTS: 2, SETTLE_RELAXED: true },
    breaks: [],
  },
  {
    name: 'without-token',
    says: 'no token, and nobody minds: only the other promises',
    flags: { KEYS: 1, DATABASE_CRASHES: 0, NO_TOKEN: true, FENCE_IGNORED: true },
    breaks: [],
  },
  {
    name: 'copies',
    says: 'deadlines; copies counted against faults',
    flags: { COUNT: true, KEYS: 1, DATABASE_CRASHES: 0 },
    breaks: [],
  },
  {
    name: 'fault-free',
    says: 'deadlines; without faults one copy each',
    flags: faultFree,
    breaks: [],
  },
]

/** The protocol with one rule left out. Each must break a promise. */
export const negative: readonly Configuration[] = [
  {
    name: 'no-token',
    says: 'settle without the token',
    flags: { ...twoMessages, NO_TOKEN: true },
    breaks: ['unfenced'],
  },
  {
    name: 'fence-before-lock',
    says: 'token compared before the row lock is granted',
    flags: { ...twoMessages, FENCE_BEFORE_LOCK: true },
    breaks: ['unfenced'],
  },
  {
    name: 'silence-is-sent',
    says: 'no answer taken for a confirm',
    flags: { ...twoMessages, SILENCE_IS_CONFIRMED: true },
    breaks: ['lost'],
  },
  {
    name: 'cursor',
    says: 'id > cursor, without full scans',
    flags: { ...twoMessages, CURSOR: true },
    breaks: ['stuck'],
  },
  {
    name: 'no-key-lock',
    says: 'no lock on the key',
    flags: { ...twoMessages, NO_KEY_LOCK: true },
    breaks: ['inversion'],
  },
  {
    name: 'position-before-lock',
    says: 'position drawn before the lock',
    flags: { ...twoMessages, NEXTVAL_FIRST: true },
    breaks: ['inversion'],
  },
  {
    name: 'express-past-open',
    says: 'express lane past an open row of the key',
    flags: { ...twoMessages, EXPRESS_PAST_OPEN: true },
    breaks: ['inversion'],
  },
  {
    name: 'express-stale-check',
    says: 'open rows looked up in a snapshot older than the lock',
    flags: { ...twoMessages, STALE_CHECK: true },
    breaks: ['inversion'],
  },
  {
    name: 'express-before-commit',
    says: 'published from memory before the commit',
    flags: { ...twoMessages, EXPRESS_BEFORE_COMMIT: true },
    breaks: ['phantom'],
  },
  {
    name: 'express-relaxed',
    says: 'published from memory after a commit that is not flushed',
    flags: { ...twoMessages, DATABASE_CRASHES: 1, EXPRESS_RELAXED: true },
    breaks: ['phantom'],
  },
  {
    name: 'no-gap-test',
    says: 'claim without the gap test',
    flags: { ...twoMessages, NO_GAP_TEST: true },
    breaks: ['inversion'],
  },
  {
    name: 'no-head-test',
    says: 'claim without the head test',
    flags: { KEYS: 2, DEAD: true, BATCH: 1, FAULTS: 0, DATABASE_CRASHES: 0, NO_HEAD_TEST: true },
    breaks: ['stuck'],
  },
  {
    name: 'claim-relaxed',
    says: 'claim committed with synchronous_commit = off',
    flags: { ...twoMessages, DATABASE_CRASHES: 1, CLAIM_RELAXED: true, FENCE_IGNORED: true },
    breaks: ['phantom'],
  },
  {
    name: 'several-unconfirmed',
    says: 'several unconfirmed messages of a key, broker keeps no order',
    flags: { ...twoMessages, SEVERAL_UNCONFIRMED: true },
    breaks: ['inversion'],
  },
  {
    name: 'goes-on-behind-refusal',
    says: 'a key pipelined to a broker that keeps the order, and takes what follows a refusal',
    flags: { ...twoMessages, GOES_ON: true },
    breaks: ['inversion'],
  },
  {
    name: 'no-deadline',
    says: 'published after the deadline',
    flags: { ...faultFree, MESSAGES: 2, KEYS: 1, NO_DEADLINE: true },
    breaks: ['duplicate'],
  },
  {
    name: 'no-grace',
    says: 'express lane with rows that are born free',
    flags: { ...faultFree, MESSAGES: 2, KEYS: 1, NO_GRACE: true },
    breaks: ['duplicate'],
  },
]
