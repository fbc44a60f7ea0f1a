/** Counts in a finished cell what must not be, from what a plain client finds. */
import type { Answered } from './customer.ts'
import { type Copy, type Site, textOf } from './eye.ts'
import {
  courseOf,
  fateOf,
  numbers,
  partsOf,
  quoteNumbers,
  timeoutMs,
  topics,
  types,
} from './plan.ts'

interface StepRow {
  readonly number: number
  readonly step: string
  readonly message: string
  readonly at: number
}

export interface Findings {
  /** Once: effects that are missing, there twice, or not the ones of the answer. */
  readonly effects: readonly string[]
  /** Repeats that did not get the stored answer. */
  readonly answers: readonly string[]
  /** States that do not fit what the saga has done, and ends that are missing or there twice. */
  readonly sagas: readonly string[]
  readonly timeouts: readonly string[]
  /** What was published, against what the saga has done. */
  readonly messages: readonly string[]
  readonly replies: readonly string[]
  readonly cancels: readonly string[]
}

export interface Counts {
  readonly messages: number
  /** Copies on the broker beyond the first of each message. */
  readonly duplicates: number
  readonly cancelled: number
  readonly throughOutcome: number
}

interface Remains {
  readonly steps: readonly StepRow[]
  readonly orders: readonly { readonly number: number; readonly stamp: string }[]
  readonly payments: readonly {
    readonly number: number
    readonly part: number
    readonly stamp: string
  }[]
  readonly cancels: readonly { readonly number: number; readonly answer: string }[]
  readonly reminded: readonly { readonly number: number; readonly message: string }[]
  readonly quoted: readonly { readonly number: number; readonly cents: number }[]
  readonly quotes: readonly {
    readonly number: number
    readonly cents: number
    readonly way: string
  }[]
  readonly sagas: ReadonlyMap<number, { readonly paid: number; readonly wanted: readonly number[] }>
  readonly outbox: readonly { readonly type: string; readonly body: Body; readonly due: unknown }[]
  readonly tap: readonly Copy[]
}

interface Body {
  readonly number?: number
  readonly key?: string
}

async function remainsOf(site: Site): Promise<Remains> {
  const table = async <Row>(name: string): Promise<readonly Row[]> =>
    (await site.rows(`select * from ${name} order by place`)).map((row) =>
      Object.fromEntries(
        Object.entries(row).map(([key, value]) => [
          key,
          ['number', 'part', 'cents', 'at'].includes(key) ? Number(value) : textOf(value),
        ]),
      ),
    ) as unknown as readonly Row[]
  const sagas = (await site.sagas()).map(({ saga_key, state, timeouts }) => {
    const { paid } = JSON.parse(textOf(state)) as { paid: number }
    const { numbers: wanted } = JSON.parse(textOf(timeouts)) as { numbers: Record<string, number> }
    return [numberOf(textOf(saga_key)), { paid, wanted: Object.values(wanted) }] as const
  })
  const outbox = (await site.outbox()).map(({ type, body, due }) => ({
    type: textOf(type),
    body: JSON.parse(textOf(body)) as Body,
    due,
  }))
  return {
    steps: await table('steps'),
    orders: await table('orders'),
    payments: await table('payments'),
    cancels: await table('cancels'),
    reminded: await table('reminded'),
    quoted: await table('quoted'),
    quotes: await table('quotes'),
    sagas: new Map(sagas),
    outbox,
    tap: await site.tap(),
  }
}

const numberOf = (key: string): number => Number(key.replace('order ', ''))

export async function audit(
  site: Site,
  answers: readonly Answered[],
): Promise<{ readonly findings: Findings; readonly counts: Counts }> {
  const remains = await remainsOf(site)
  const findings = {
    effects: effects(remains, answers),
    answers: repeats(answers),
    sagas: numbers.flatMap((number) => sagaOf(remains, number)),
    timeouts: timeouts(remains),
    messages: published(remains),
    replies: quoteNumbers.flatMap((number) => replyOf(remains, number)),
    cancels: numbers.flatMap((number) => cancelOf(remains, number)),
  }
  const ids = new Set(remains.tap.map(({ id }) => id))
  return {
    findings,
    counts: {
      messages: ids.size,
      duplicates: remains.tap.length - ids.size,
      cancelled: remains.cancels.filter(({ answer }) => answer === 'cancelled').length,
      throughOutcome: remains.quotes.filter(({ way }) => way === 'outcome').length,
    },
  }
}

/** Each request has one effect, and it is that of the answer. */
function effects({ orders, payments }: Remains, answers: readonly Answered[]): string[] {
  return answers.flatMap(({ request, answer }) => {
    const { path, number, part } = request
    if (path === 'reminders') return []
    const rows =
      path === 'orders'
        ? orders.filter((row) => row.number === number)
        : payments.filter((row) => row.number === number && row.part === part)
    const { stamp } = JSON.parse(answer.body) as { stamp: string }
    const name = `${path} ${number}/${part}`
    if (rows.length !== 1) return [`${name}: ${rows.length} effects`]
    return rows[0]?.stamp === stamp ? [] : [`${name}: the answer is of another effect`]
  })
}

function repeats(answers: readonly Answered[]): string[] {
  return answers.flatMap(({ request, answer, repeated }) =>
    repeated?.replayed === true &&
    repeated.body === answer.body &&
    repeated.status === answer.status
      ? []
      : [`${request.path} ${request.number}/${request.part}: a repeat did not get the answer`],
  )
}

const times = ({ steps }: Remains, number: number, step: string): number =>
  steps.filter((row) => row.number === number && row.step.startsWith(step)).length

/** Ends once, or is open with the state that its messages have made. */
function sagaOf(remains: Remains, number: number): string[] {
  const count = (step: string): number => times(remains, number, step)
  const [starts, parts, settled, overdue] = ['start', 'part', 'settled', 'overdue'].map(count) as [
    number,
    number,
    number,
    number,
  ]
  const instance = remains.sagas.get(number)
  const course = courseOf(number)
  const copies = partsOf(number).filter((part) => count(`part ${part}`) > 1)
  const expected = {
    paid: settled === 1 && overdue === 0 && parts === 2,
    unpaid: overdue === 1 && settled === 0 && parts === 0,
    // On a slow machine the half comes when the time is over.
    again: overdue === 1 && settled === 0,
    open: overdue === 0 && settled === 0 && parts === 1,
  }
  // Both halves of an order may be too late as well.
  const late = course === 'paid' && overdue === 1 && settled === 0
  const open = course === 'open'
  return [
    ...(starts === 1 ? [] : [`saga ${number}: ${starts} starts`]),
    ...copies.map((part) => `saga ${number}: part ${part} twice`),
    ...(expected[course] || late
      ? []
      : [`saga ${number} (${course}): ${parts} parts, ${settled} settled, ${overdue} overdue`]),
    ...(open === (instance !== undefined)
      ? []
      : [`saga ${number} (${course}): ${instance === undefined ? 'no' : 'an'} instance`]),
    ...(instance === undefined || instance.paid === parts
      ? []
      : [`saga ${number}: its state says ${instance.paid} parts, and it has had ${parts}`]),
  ]
}

/** Those of open instances wait in the outbox; none was early. */
function timeouts(remains: Remains): string[] {
  const waiting = [...remains.sagas].flatMap(([number, { wanted }]) => {
    const rows = remains.outbox.filter(
      ({ type, body }) => type.endsWith('.timeout') && numberOf(body.key ?? '') === number,
    )
    return wanted.length === 1 && rows.length === 1
      ? []
      : [`saga ${number} waits for ${wanted.length} timeouts, ${rows.length} are in the outbox`]
  })
  const early = remains.steps.flatMap(({ number, step, at }) => {
    if (step !== 'overdue') return []
    const since = remains.steps.filter(
      (row) =>
        row.number === number &&
        (row.step === 'start' || (courseOf(number) === 'again' && row.step.startsWith('part'))),
    )
    const from = Math.max(...since.map((row) => row.at))
    return at >= from + timeoutMs(number) ? [] : [`the timeout of saga ${number} was early`]
  })
  return [...waiting, ...early]
}

/** One message for each step, and none without. */
function published({ tap, steps }: Remains): string[] {
  const said = new Map<string, Set<string>>()
  for (const { id, type, body } of tap) {
    const { number, part, by } = JSON.parse(body) as { number: number; part?: number; by?: string }
    const name = `${type} ${number} ${part ?? by ?? ''}`.trim()
    said.set(name, (said.get(name) ?? new Set()).add(id))
  }
  const wanted = steps.flatMap(({ number, step }) => {
    const [what, part] = step.split(' ')
    if (what === 'start') return [`${types.opened} ${number}`]
    if (what === 'part') return [`${types.partPaid} ${number} ${part}`]
    return [`${types.closed} ${number} ${what}`]
  })
  const known = new Set(wanted)
  const copies = Map.groupBy(tap, ({ id }) => id)
  return [
    ...wanted.filter((name) => !said.has(name)).map((name) => `${name} is not on the broker`),
    ...[...said.keys()].filter((name) => !known.has(name)).map((name) => `${name} is a phantom`),
    ...[...said].filter(([, ids]) => ids.size > 1).map(([name]) => `${name} has two ids`),
    ...[...copies].filter(([, list]) => list.length > 3).map(([id]) => `${id}: many copies`),
    ...tap.filter(({ type }) => !topics.some((topic) => topic === type)).map(({ type }) => type),
  ]
}

function replyOf({ quoted, quotes }: Remains, number: number): string[] {
  const effects = quoted.filter((row) => row.number === number)
  const known = quotes.filter((row) => row.number === number)
  if (effects.length !== 1 || known.length < 1)
    return [`price ${number}: handled ${effects.length} times, known ${known.length} times`]
  return known.every(({ cents }) => cents === effects[0]?.cents)
    ? []
    : [`price ${number}: the asker knows another price than was committed`]
}

/** What was taken back never arrives; everything else does. */
function cancelOf({ cancels, reminded, outbox }: Remains, number: number): string[] {
  const answers = cancels.filter((row) => row.number === number).map(({ answer }) => answer)
  const arrivals = reminded.filter((row) => row.number === number).length
  const waiting = outbox.filter(
    ({ type, body }) => type === types.remind && body.number === number,
  ).length
  const cancelled = answers.includes('cancelled')
  const asked = fateOf(number) === 'cancel' ? 1 : 0
  return [
    ...(answers.length === asked ? [] : [`reminder ${number}: taken back ${answers.length} times`]),
    ...(arrivals + waiting === (cancelled ? 0 : 1)
      ? []
      : [`reminder ${number} (${answers.join(', ') || 'left'}): arrived ${arrivals} times`]),
  ]
}
